//! The blocks that stand before an entry's content in a tar, always the same for the same entry.
//!
//! Plain ustar, raw bytes in names, numeric owners without names, whole seconds. An extended (PAX) header is written
//! only for what ustar has no room for, with its records sorted.

use std::collections::BTreeMap;

use tar::{EntryType, Header};

use super::entry::Xattrs;

/// Tars are made of blocks of this size.
pub(super) const BLOCK: usize = 512;
/// What GNU tar, Go and we put before the name of an attribute in an extended header.
pub(super) const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
/// The largest value of an 8-byte octal field.
pub(super) const MAX_OCTAL_7: u32 = 0o777_7777;
/// The largest value of a 12-byte octal field.
const MAX_OCTAL_11: u64 = 0o777_7777_7777;

/// Everything a header says.
#[derive(Debug)]
pub(super) struct HeaderFields<'a> {
    /// The name as it stands in the tar, with a slash at the end for directories.
    pub(super) name: &'a [u8],
    pub(super) entry_type: EntryType,
    pub(super) link: &'a [u8],
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    /// Class and number of a device, each at most [`MAX_OCTAL_7`].
    pub(super) device: (u32, u32),
    pub(super) xattrs: &'a Xattrs,
}

/// Appends the header of an entry to `out`, with an extended header before it if needed.
pub(super) fn write_header(fields: &HeaderFields<'_>, out: &mut Vec<u8>) {
    let mut header = Header::new_ustar();
    let mut records: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut extend = |key: &str, value: &[u8]| {
        records.insert(key.as_bytes().to_vec(), value.to_vec());
    };
    if !set_name(&mut header, fields.name) {
        extend("path", fields.name);
    }
    if !copy_into(&mut header.as_old_mut().linkname, fields.link) {
        extend("linkpath", fields.link);
    }
    header.set_entry_type(fields.entry_type);
    header.set_mode(fields.mode);
    let decimal = |number: &dyn ToString| number.to_string().into_bytes();
    // What does not fit becomes zero in the ustar field, which every reader of the extended header ignores.
    let mut number = |key: &str, value: u64, limit: u64| {
        if value > limit {
            extend(key, &decimal(&value));
            return 0;
        }
        value
    };
    header.set_uid(number("uid", fields.uid.into(), MAX_OCTAL_7.into()));
    header.set_gid(number("gid", fields.gid.into(), MAX_OCTAL_7.into()));
    header.set_size(number("size", fields.size, MAX_OCTAL_11));
    match u64::try_from(fields.mtime) {
        Ok(mtime) if mtime <= MAX_OCTAL_11 => header.set_mtime(mtime),
        _ => extend("mtime", &decimal(&fields.mtime)),
    }
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.set_device_major(fields.device.0);
        ustar.set_device_minor(fields.device.1);
    }
    header.set_cksum();
    for (name, value) in fields.xattrs {
        records.insert([XATTR_PREFIX, name].concat(), value.clone());
    }
    if !records.is_empty() {
        write_extended(fields.name, &records, out);
    }
    out.extend_from_slice(header.as_bytes());
}

/// The number of bytes that fill the last block of `size` bytes.
pub(super) fn padding(size: u64) -> usize {
    let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - used) % BLOCK
}

/// Appends an extended header with its records.
fn write_extended(name: &[u8], records: &BTreeMap<Vec<u8>, Vec<u8>>, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    for (key, value) in records {
        write_record(key, value, &mut body);
    }
    let mut header = Header::new_ustar();
    let trimmed = name.strip_suffix(b"/").unwrap_or(name);
    let last = trimmed.rsplit(|byte| *byte == b'/').next();
    let shown = [b"PaxHeaders/", last.unwrap_or_default()].concat();
    let shown = shown.get(..100).unwrap_or(&shown);
    copy_into(&mut header.as_old_mut().name, shown);
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(body.len() as u64);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&body);
    out.resize(out.len() + padding(body.len() as u64), 0);
}

/// Appends `LENGTH KEY=VALUE\n`, where the length counts itself.
fn write_record(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Puts the name into the header, split in two if it is long; whether it fits. What does not fit is cut off, for
/// readers that know no extended headers.
fn set_name(header: &mut Header, name: &[u8]) -> bool {
    let Some(ustar) = header.as_ustar_mut() else {
        return false;
    };
    if copy_into(&mut ustar.name, name) {
        return true;
    }
    let (name_limit, prefix_limit) = (ustar.name.len(), ustar.prefix.len());
    // The last slash that leaves a prefix that fits; what follows it is then as short as can be.
    let split = (0..=prefix_limit.min(name.len().saturating_sub(2)))
        .rev()
        .find(|at| *at > 0 && name.get(*at) == Some(&b'/'));
    let Some((prefix, rest)) = split.and_then(|at| name.split_at_checked(at)) else {
        return false;
    };
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    if rest.len() > name_limit {
        return false;
    }
    ustar.name.fill(0);
    copy_into(&mut ustar.name, rest) && copy_into(&mut ustar.prefix, prefix)
}

/// Copies bytes to the start of a field; whether all of them fit.
fn copy_into(field: &mut [u8], bytes: &[u8]) -> bool {
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
    bytes.len() <= field.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        let written = |key: &str, length: usize| {
            let mut out = Vec::new();
            write_record(key.as_bytes(), &vec![b'x'; length], &mut out);
            let text = String::from_utf8(out).unwrap();
            let said: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, text.len(), "{length}");
            said
        };
        assert_eq!((written("k", 4), written("k", 5)), (9, 11));
        for length in [
            0, 1, 4, 5, 6, 93, 94, 95, 96, 97, 990, 991, 992, 993, 994, 65536,
        ] {
            written("k", length);
        }
    }

    #[test]
    fn names_go_where_they_fit() {
        let deep = |directory: usize, file: usize| {
            format!("{}/{}", "d".repeat(directory), "f".repeat(file))
        };
        let cases = [
            ("a".repeat(100), true),
            ("a".repeat(101), false),
            (deep(155, 100), true),
            (deep(156, 10), false),
            (deep(155, 101), false),
            (format!("{}/", "a".repeat(100)), false),
            (format!("{}/{}/", "a".repeat(60), "b".repeat(60)), true),
        ];
        for (name, fits) in cases {
            let mut header = Header::new_ustar();
            assert_eq!(set_name(&mut header, name.as_bytes()), fits, "{name}");
            if fits {
                assert_eq!(header.path_bytes().as_ref(), name.as_bytes());
            }
        }
    }
}
