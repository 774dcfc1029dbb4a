FROM alpine
RUNa
RUN	bc
ENV A=b C=d
COPY a b c
