FROM alpine
RUN a \
    b\
c\   
 d \	
 e
RUN a \\
RUN a \\\
RUN a\ \
  b
