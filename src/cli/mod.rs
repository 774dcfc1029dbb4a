//! Words of the command line to a request, and failures to exit codes.
