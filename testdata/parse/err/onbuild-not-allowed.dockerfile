FROM alpine
ONBUILD FROM a
ONBUILD maintainer x
