//! Text of a Dockerfile to its syntax tree, and the expansion of words. No I/O.
