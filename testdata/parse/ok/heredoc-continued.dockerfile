FROM alpine
RUN --network=none \
  cat \
  # comment
  <<EOF
body
EOF
RUN b
