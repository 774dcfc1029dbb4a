FROM alpine
COPY a\
b \
  c /d
ENV A=x\
y B=z
