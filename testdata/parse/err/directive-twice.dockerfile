# escape=`
# ESCAPE=`
# syntax=a
# syntax=b
FROM a
