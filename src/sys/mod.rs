//! The only place with `unsafe`: system calls that no safe crate covers, and probes of what the kernel offers.
