//! The fields of one header block of an untrusted tar.

use super::entry::MODE_BITS;
use super::error::{Result, TarProblem};
use super::tar_header::BLOCK;
use super::tar_pax::text_until_nul;

/// The fields of a header block.
pub(super) struct Header<'a>(pub(super) &'a [u8; BLOCK]);

impl Header<'_> {
    /// Checks the sum over the block; some old programs summed signed bytes.
    pub(super) fn verify(&self) -> Result<(), TarProblem> {
        let said = self.number("checksum", 148..156)?;
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (at, byte) in self.0.iter().enumerate() {
            let byte = if (148..156).contains(&at) {
                b' '
            } else {
                *byte
            };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        match said == unsigned || said == signed {
            true => Ok(()),
            false => Err(TarProblem::Checksum),
        }
    }

    pub(super) fn entry_type(&self) -> u8 {
        self.0[156]
    }

    /// The name, put together with the prefix if the header has one: GNU uses its place for other things.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text_until_nul(&self.0[..100]);
        let prefix = text_until_nul(&self.0[345..500]);
        let is_ustar = &self.0[257..263] == b"ustar\0";
        match is_ustar && !prefix.is_empty() {
            true => [prefix, b"/", name].concat(),
            false => name.to_vec(),
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text_until_nul(&self.0[157..257]).to_vec()
    }

    /// Only the low 12 bits: some programs put the file type above them.
    pub(super) fn mode(&self) -> Result<u32, TarProblem> {
        let mode = self.number("mode", 100..108)? & i64::from(MODE_BITS);
        u32::try_from(mode).map_err(|_| TarProblem::Number("mode"))
    }

    pub(super) fn number(
        &self,
        field: &'static str,
        at: std::ops::Range<usize>,
    ) -> Result<i64, TarProblem> {
        parse_number(self.0.get(at).unwrap_or_default()).ok_or(TarProblem::Number(field))
    }
}

/// A number field: octal text, or binary in two's complement if the first bit is set. Empty is zero.
pub(super) fn parse_number(field: &[u8]) -> Option<i64> {
    if let Some((first, rest)) = field.split_first()
        && first & 0x80 != 0
    {
        // The bit below the marker is the sign.
        let start = if first & 0x40 != 0 { -1_i128 } else { 0 };
        let start = start << 6 | i128::from(first & 0x3f);
        let mut value = start;
        for byte in rest {
            value = value << 8 | i128::from(*byte);
        }
        return i64::try_from(value).ok();
    }
    let text = field
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let mut value = 0_i64;
    for digit in text {
        let digit = (b'0'..=b'7')
            .contains(digit)
            .then(|| i64::from(digit - b'0'))?;
        value = value.checked_mul(8)?.checked_add(digit)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_text_or_binary() {
        let cases: [(&[u8], Option<i64>); 12] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"", Some(0)),
            (b"\0\0\0\0", Some(0)),
            (b"7777777777777777777777777", None),
            (b"8", None),
            (b"-1", None),
            (b"1 2", None),
            (&[0x80, 0, 0, 0, 0, 0, 1, 0], Some(256)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], Some(-2)),
            (&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0], None),
            (
                &[0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
                Some(i64::MIN),
            ),
        ];
        for (field, expected) in cases {
            assert_eq!(parse_number(field), expected, "{field:?}");
        }
    }
}
