# check=skip=A;foo=bar
FROM a
