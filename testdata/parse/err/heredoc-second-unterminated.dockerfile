FROM alpine
COPY <<A <<B /x/
B
A
