FROM alpine
RUN --mount='type=bind,"target=/x' a
RUN --mount= a
