FROM alpine
RUN make