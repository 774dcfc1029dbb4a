FROM alpine
COPY --from=$stage a b
