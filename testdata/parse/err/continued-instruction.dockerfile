FROM alpine
RUN a \
  b
ENV A=b \
    # comment
    c \
    D=e
RUN z
