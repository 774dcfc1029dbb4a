FROM alpine
RU\
N a
