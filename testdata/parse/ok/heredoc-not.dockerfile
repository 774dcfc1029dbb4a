FROM alpine
RUN echo "<<EOF" a<<EOF <<<EOF '<<EOF' <<
RUN ["cat", "<<EOF"]
RUN echo $((1 << 2)) $((1<<2))
RUN echo \<<EOF
RUN echo it's <<EOF
CMD cat <<EOF
ENV A=<<EOF
