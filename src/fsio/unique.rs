//! Parts of names that nobody else chooses, in whatever container he is: process numbers alone are not enough.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A part of a file name that no other process and no other call gives.
#[must_use]
pub fn unique() -> String {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(|| {
        let mut bits = [0; 8];
        // Without a source of numbers, which Linux always has, the process number has to do.
        let _filled = rustix::rand::getrandom(&mut bits, rustix::rand::GetRandomFlags::empty());
        u64::from_ne_bytes(bits)
    });
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{process:016x}-{number}", std::process::id())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_are_the_same() {
        let names: std::collections::BTreeSet<String> = (0..100).map(|_| super::unique()).collect();
        assert_eq!(names.len(), 100);
    }
}
