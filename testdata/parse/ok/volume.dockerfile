FROM alpine
VOLUME /a /b
VOLUME ["/c d", " /e "]
VOLUME ['/f']
