FROM alpine
ONBUILD RUN a \
  # comment
  b
onbuild copy --from=x ["a", "b"]
ONBUILD  ENV a=b
ONBUILD COPY <<A <<-B /x/
$a
A
	b
	B
ONBUILD HEALTHCHECK NONE
