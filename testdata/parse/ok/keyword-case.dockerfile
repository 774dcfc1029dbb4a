from a AS b
From b as C
run x
EnTrYpOiNt x
