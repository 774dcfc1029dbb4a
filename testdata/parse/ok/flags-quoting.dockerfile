FROM alpine
COPY --chown="a b":c --chmod='0'755 --exclude=a\ b --exclude=*.x a b
RUN --mount=type=bind,"source=a b",target=/x --mount='type=cache,"target=/y,z"' c
RUN -- --not-a-flag
CMD -- --x
RUN a --mount=x
