FROM alpine
	COPY	--chwn=x	a	b
