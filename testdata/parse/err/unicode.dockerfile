FROM alpine
LABEL größe="1" schön="ja" ähm 日本=x
