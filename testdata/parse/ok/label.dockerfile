FROM alpine
LABEL "com.example/x y"="1" a.b=c multi="line \
  two" $K=$V
