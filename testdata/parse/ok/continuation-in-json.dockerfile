FROM alpine
CMD ["a", \
  # comment
  "b"]
