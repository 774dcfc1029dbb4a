FROM alpine
COPY <<FROM /x
RUN a
# c
\

FROM
RUN b
