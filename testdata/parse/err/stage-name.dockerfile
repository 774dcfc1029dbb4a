FROM a AS 1st
FROM a AS a/b
FROM a AS Ünï
FROM a AS $x
