FROM alpine
RUN a \

  b
FOO
