ARG A
ARG B= C="x y" D=a\ b E=$A F='q' "G"=h
FROM alpine
ARG --anything A
ARG A=${B:?no}
