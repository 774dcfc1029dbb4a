FROM alpine
COPY --chown=a --chown=b c d
COPY --link --link=false a b
