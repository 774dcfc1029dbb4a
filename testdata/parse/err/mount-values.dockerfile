FROM alpine
RUN --mount=target=/x,ro=x a
RUN --mount=type=cache,mode=8 a
RUN --mount=type=cache,sharing=none a
RUN --mount=target=/x,mode=1 a
RUN --mount=type=tmpfs,size=big a
