# escape=ab
FROM a
