# escape=`
FROM a
COPY `
  a
FOO \
