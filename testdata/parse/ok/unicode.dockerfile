FROM alpine AS b
# kommentar ü
ENV GRÜSSE="Grüße 🎉" X=ü
RUN echo 你好 \
  мир
LABEL é=è
