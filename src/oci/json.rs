//! The one serialiser of documents that leave the builder.

use serde::Serialize;

/// Compact JSON with sorted keys: the same value gives the same bytes on every machine.
///
/// `serde_json::Value` keeps its maps sorted (the `preserve_order` feature is off; a test pins it), so that hash maps
/// inside `oci-spec` types cannot reach a digest unsorted.
///
/// # Panics
/// Never for the types of this crate: only maps with keys that are no strings cannot be written.
#[must_use]
pub fn canonical_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_value(value)
        .and_then(|value| serde_json::to_vec(&value))
        .expect("documents have string keys and serialise without I/O")
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_sorted() {
        let value: serde_json::Value =
            serde_json::from_str(r#"{"b":1,"a":{"d":1,"c":2}}"#).unwrap();
        assert_eq!(
            super::canonical_json(&value),
            br#"{"a":{"c":2,"d":1},"b":1}"#
        );
    }
}
