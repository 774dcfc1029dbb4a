FROM alpine
COPY -- --a --b
ENTRYPOINT -x
RUN -x
WORKDIR -
