FROM alpine
HEALTHCHECK NONE
HEALTHCHECK --bad none
HEALTHCHECK --interval=1m30s --timeout=5s --start-period=0 --start-interval=1.5ms --retries=3 cmd curl -f x || exit 1
HEALTHCHECK CMD ["a", "b"]
HEALTHCHECK CMD ['a']
