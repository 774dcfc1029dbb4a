FROM alpine
ADD --keep-git-dir=true --checksum=sha256:00 --link --unpack=false --exclude=x https://x/y.tgz a /z
ADD ["a", "b", "c"]
ADD <<EOF x /d/
hi
EOF
