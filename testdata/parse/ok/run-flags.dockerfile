FROM alpine
RUN --network=none --security=insecure --device=v.com/gpu=all,required --device=name=v.com/x a
RUN --network=host ["a"]
