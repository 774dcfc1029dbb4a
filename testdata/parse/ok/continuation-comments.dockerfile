FROM alpine
RUN a \
# one
   # two \
  b \
  #three
  && c # data
