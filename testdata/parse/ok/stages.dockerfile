ARG V=3 W
ARG X=$V
FROM --platform=$BUILDPLATFORM golang:$V AS Build_1.x-y
RUN a
FROM scratch
COPY --from=build_1.x-y /a /b
COPY --from=0 /a /b
