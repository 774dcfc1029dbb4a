FROM a
RUN --mount=target=/x,uid=1 b
RUN --mount=target=/x,gid=1 b
RUN --mount=type=tmpfs,target=/x,mode=1 b
RUN --mount=target=/x,sharing=locked b
RUN --mount=type=tmpfs,target=/x,sharing=shared b
RUN --mount=type=ssh,sharing=private b
RUN --mount=type=secret,id=x,sharing=private b
RUN --mount=type=cache,target=/x,sharing=lokced b
RUN --mount=type=cache,target=/x,soruce=y b
