FROM alpine
USER a b
USER  $U:"$G"  
WORKDIR /a b/
STOPSIGNAL --ignored SIGTERM
MAINTAINER Some One <a@b>
