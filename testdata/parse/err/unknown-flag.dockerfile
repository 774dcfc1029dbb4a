FROM --platfrom=x a
COPY --form=x a b
RUN --mnt=x a
CMD --help
ONBUILD --x RUN a
ADD --parents a b
