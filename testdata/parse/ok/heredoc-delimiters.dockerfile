FROM alpine
COPY <<'one two' <<E"O"F <<$X <<\Y 4<<Z <<- W <<  V /d
one two
EOF
$X
Y
Z
	W
V
