//! Client of the distribution protocol: resolve, pull, push.
