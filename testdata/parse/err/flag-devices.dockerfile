FROM alpine
RUN --device=v.com/x,required=perhaps a
RUN --device=a=b x
RUN --device=required x
