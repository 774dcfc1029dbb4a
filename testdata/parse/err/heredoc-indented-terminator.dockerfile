FROM alpine
COPY a <<A <<EOF /x/
1
A
2
  EOF
RUN x
