# syntax=docker/dockerfile:1.7 --opt
#Escape = `
#  check=skip=A,B;error=true

# about the image
FROM alpine
