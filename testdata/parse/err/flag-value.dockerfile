FROM alpine
COPY --from a b
COPY --link= a b
COPY --link=maybe a b
RUN --network=nope x
RUN --security=none x
