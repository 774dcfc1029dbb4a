FROM alpine
FOO bar
RNU x
WRKDIR /
