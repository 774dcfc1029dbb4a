FROM alpine
RUN --mount=typ=tmpfs a
RUN --mount=target a
RUN --mount=required,type=secret,id=x a
RUN --mount=type=$T,nope=1 a
