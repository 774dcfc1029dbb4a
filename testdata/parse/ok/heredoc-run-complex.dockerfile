FROM alpine
RUN cat <<A <<-"B" | tr a b && 3<<C cat
a
A
	b
	B
c
C
RUN python3 <<EOF
print(1)
EOF
RUN <<EOF sh
x
EOF
RUN 3<<EOF
x
EOF
