FROM alpine
RUN ["a", 1]
COPY [["a"], "b"]
HEALTHCHECK CMD [null]
