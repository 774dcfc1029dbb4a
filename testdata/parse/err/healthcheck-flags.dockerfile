FROM alpine
HEALTHCHECK --interval=1us CMD a
HEALTHCHECK --interval=5 CMD a
HEALTHCHECK --timeout=-1s CMD a
HEALTHCHECK --retries=-1 CMD a
HEALTHCHECK --retries=x CMD a
HEALTHCHECK --start-period=1y CMD a
