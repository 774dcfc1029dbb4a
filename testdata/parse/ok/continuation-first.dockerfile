FROM alpine
\
  RUN a
