FROM alpine
ENV A=b c
LABEL A=b \
  "c d" E=f
