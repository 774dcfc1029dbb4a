FROM alpine
RUN --mount=type=secret a
RUN --mount=type=secret,id=a,source=b a
RUN --mount=type=secret,id=a,from=b \
    --mount=type=ssh a
RUN --mount=type=ssh,source=x a
