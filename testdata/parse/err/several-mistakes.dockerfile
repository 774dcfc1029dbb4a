# escape=x
FROM
RUN --mont=x a
COPY a
ENV A
EXPOSE
