FROM alpine
COPY --link --parents --chown=1:2 --chmod=u+x --from=img:1 a "b c" d/
COPY ["a b", "c"]
COPY --link=FALSE --from= a b
