FROM alpine
FOO a
RUN <<EOF
x
