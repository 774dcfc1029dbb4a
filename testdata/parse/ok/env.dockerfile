FROM alpine
ENV A=1 B="two words" C=it\'s D=a=b E= "F"=g
ENV G='single $x' H=${G:-"a b"} \
    I=j
