FORM alpine
RUN a
