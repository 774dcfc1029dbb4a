FROM alpine
COPY a
ADD
COPY ["a"]
ADD <<EOF
EOF
