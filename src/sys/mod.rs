//! The only place with `unsafe`: system calls that no safe crate covers, and probes of what the kernel offers.
//!
//! Nothing here knows a sandbox, a layer or a step: the functions speak the kernel's language (processes, mounts,
//! interfaces) and return its error numbers.
#![expect(
    unsafe_code,
    reason = "the one module that may; every block says why it is needed and why it holds"
)]

pub mod binfmt;
pub mod identity;
pub mod lock;
pub mod mount;
pub mod network;
pub mod probe;
pub mod process;
