# escape=`
FROM alpine
RUN a `
  b
COPY <<EOF /x
one
two
EOF
CMD ["a"]
