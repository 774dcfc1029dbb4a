FROM alpine
RUN <<EOF
# not a comment
echo $x \

  y
EOF
RUN <<-EOF
		one
	 two
	EOF
