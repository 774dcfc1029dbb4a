FROM alpine
RUN --mount=type=bnd,target=/x a
