//! The records of a PAX extended header, from untrusted bytes.
//!
//! A record is `LENGTH KEY=VALUE\n`. Values are cut out by length, never by searching for the end of a line: an
//! attribute's value may hold any byte.

use super::entry::Xattrs;
use super::error::{Result, TarProblem};
use super::tar_header::XATTR_PREFIX;
use super::tar_sparse::PaxSparse;

/// What an extended header says about the entry after it.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<i64>,
    pub(super) xattrs: Xattrs,
    pub(super) sparse: Option<PaxSparse>,
    /// The name of a sparse file; `path` is then a made-up one for readers that know no sparse files.
    pub(super) sparse_name: Option<Vec<u8>>,
}

impl Extensions {
    /// Reads the records.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, TarProblem> {
        let mut all = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = split_record(bytes).ok_or(TarProblem::ExtendedHeader)?;
            all.add(key, value)?;
            bytes = rest;
        }
        Ok(all)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarProblem> {
        let text = |value: &[u8]| match value.contains(&0) {
            true => Err(TarProblem::ExtendedHeader),
            // An empty value takes an earlier one back.
            false => Ok((!value.is_empty()).then(|| value.to_vec())),
        };
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = parse_decimal("size", value)?,
            b"uid" => self.uid = parse_decimal("uid", value)?,
            b"gid" => self.gid = parse_decimal("gid", value)?,
            b"mtime" => self.mtime = parse_time(value)?,
            b"GNU.sparse.name" => self.sparse_name = text(value)?,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                    if name.is_empty() || name.contains(&0) {
                        return Err(TarProblem::ExtendedHeader);
                    }
                    self.xattrs.insert(name.to_vec(), value.to_vec());
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    let sparse = self.sparse.get_or_insert_default();
                    sparse.add(key, value)?;
                }
            }
        }
        Ok(())
    }
}

/// The first record and what follows it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let digits = bytes.get(..space)?;
    let length = usize::try_from(decimal(digits)?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = record.split_at_checked(equals)?;
    (!key.is_empty()).then_some((key, value.get(1..)?, rest))
}

/// A whole number without sign; `None` if there is none, or it is too large.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

fn parse_decimal<T: TryFrom<u64>>(
    field: &'static str,
    value: &[u8],
) -> Result<Option<T>, TarProblem> {
    if value.is_empty() {
        return Ok(None);
    }
    let number = decimal(value).and_then(|number| T::try_from(number).ok());
    number.map(Some).ok_or(TarProblem::Number(field))
}

/// Whole seconds of `-12.345`, rounded down as seconds before the epoch have to be.
fn parse_time(value: &[u8]) -> Result<Option<i64>, TarProblem> {
    if value.is_empty() {
        return Ok(None);
    }
    let (negative, text) = match value.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, value),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().and_then(decimal);
    let whole = whole.and_then(|whole| i64::try_from(whole).ok());
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(TarProblem::Number("mtime"));
    }
    let part = i64::from(fraction.iter().any(|digit| *digit != b'0'));
    let seconds = whole.and_then(|whole| match negative {
        true => whole.checked_neg()?.checked_sub(part),
        false => Some(whole),
    });
    seconds.map(Some).ok_or(TarProblem::Number("mtime"))
}

/// A text field up to its first NUL.
pub(super) fn text_until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_by_length() {
        let all = Extensions::parse(b"28 SCHILY.xattr.user.x=a\n=b\n9 path=\xff\n14 mtime=-1.5\n")
            .unwrap();
        assert_eq!(all.xattrs[&b"user.x"[..]], b"a\n=b");
        assert_eq!(all.path.unwrap(), b"\xff");
        assert_eq!(all.mtime, Some(-2));
        assert!(Extensions::parse(b"").unwrap().path.is_none());
    }

    #[test]
    fn malformed_records_are_refused() {
        let bad: [&[u8]; 14] = [
            b"x",
            b"0 a=b\n",
            b"6 a=b",
            b"7 a=b\n",
            b"5 a=b\n",
            b"6 abc\n",
            b"5 =b\n",
            b"99999999999999999999999 a=b\n",
            b"18446744073709551615 a=b\n",
            b"-6 a=b\n",
            b"+6 a=b\n",
            b"9 size=x\n",
            b"10 path=\0\n",
            b"21 uid=999999999999\n",
        ];
        for bytes in bad {
            let shown = String::from_utf8_lossy(bytes);
            assert!(Extensions::parse(bytes).is_err(), "{shown}");
        }
    }

    #[test]
    fn times_round_down() {
        let cases: [(&[u8], Option<i64>); 8] = [
            (b"5", Some(5)),
            (b"5.9", Some(5)),
            (b"-5", Some(-5)),
            (b"-5.0", Some(-5)),
            (b"-5.1", Some(-6)),
            (b"-0.1", Some(-1)),
            (b"", None),
            (b"9223372036854775807", Some(i64::MAX)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_time(text), Ok(expected));
        }
        for bad in [&b"9223372036854775808"[..], b"x", b"1.x", b"--1", b"."] {
            assert!(parse_time(bad).is_err());
        }
    }
}
