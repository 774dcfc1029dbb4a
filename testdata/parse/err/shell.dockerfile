FROM alpine
SHELL /bin/sh -c
SHELL []
SHELL
