FROM alpine
RUN Ã¼ echo ÿ
