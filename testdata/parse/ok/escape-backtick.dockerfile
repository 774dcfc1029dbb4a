# escape=`
FROM windows
COPY a C:\b\
RUN dir c:\ `
  `
  # comment \ `
  /s
ENV A=a` b B="`"" C=\d
