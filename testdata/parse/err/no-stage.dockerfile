# x
ARG A
RUN a \
  b
COPY a b
