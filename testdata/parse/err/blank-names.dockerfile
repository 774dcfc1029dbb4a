FROM alpine
ENV =a
LABEL a=b =c
ARG =
