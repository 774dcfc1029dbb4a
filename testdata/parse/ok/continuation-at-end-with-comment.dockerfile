FROM alpine
RUN a \
# end
