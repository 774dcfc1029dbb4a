FROM alpine
CMD
CMD []
CMD echo "a" $b
CMD ["a", "b\u00e9\\"]
ENTRYPOINT []
ENTRYPOINT ["a"]
ENTRYPOINT a
SHELL ["/bin/bash", "-c"]
