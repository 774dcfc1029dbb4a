FROM alpine
ENV A b  c "d"  e
ENV B	x=y
LABEL key some value
ENV "a b" c
