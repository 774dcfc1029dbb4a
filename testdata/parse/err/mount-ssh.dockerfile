FROM alpine
RUN --mount=type=ssh,source=x a
RUN --mount=type=ssh,sharing=locked a
RUN --mount=type=ssh,size=1m a
RUN --mount=type=ssh,env=X a
RUN --mount=type=ssh,mode=0980 a
RUN --mount=type=ssh,uid=+1 a
RUN --mount=type=ssh,gid= a
RUN --mount=type=ssh,required=perhaps a
RUN --mount=required,type=ssh a
