FROM alpine
RUN ['ls']
RUN ["ls"] && pwd
RUN ["ls"
RUN [ -f x ]
CMD ["c:\windows"]
COPY ['a', 'b']
VOLUME [a]
