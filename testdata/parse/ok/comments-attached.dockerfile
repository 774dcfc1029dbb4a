# clears
#
# stage: the first

# check=skip=Rule
FROM alpine AS stage
  # indented
RUN a
# trailing
