FROM alpine
RUN --mount=target=/a --mount=type=cache,id=x,target=/b,sharing=locked,mode=0700,uid=1,gid=2,ro \
    --mount=type=tmpfs,target=/c,size=64m --mount=type=secret,id=s,env=S,required=true \
    --mount=type=ssh,required --mount=Type=$T,target=$D/x,required make
