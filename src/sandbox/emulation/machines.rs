//! The processors that programs are for, as the header of an ELF file names them. Pure data.

/// A processor, by the header of its programs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// As platforms name it.
    pub(super) arch: &'static str,
    /// As QEMU names it: `qemu-aarch64`.
    pub(super) qemu: &'static str,
    /// Whether its words have 64 bits.
    wide: bool,
    /// Whether the most significant byte comes first.
    big_endian: bool,
    /// Its number in ELF.
    number: u16,
}

/// How many bytes of a header tell the processor.
pub(super) const LENGTH: usize = 20;

const fn machine(arch: &'static str, qemu: &'static str, wide: bool, number: u16) -> Machine {
    Machine {
        arch,
        qemu,
        wide,
        big_endian: false,
        number,
    }
}

/// All that there is a way to emulate.
pub(super) const MACHINES: [Machine; 9] = [
    machine("386", "i386", false, 3),
    machine("amd64", "x86_64", true, 62),
    machine("arm", "arm", false, 40),
    machine("arm64", "aarch64", true, 183),
    machine("loong64", "loongarch64", true, 258),
    machine("mips64le", "mips64el", true, 8),
    machine("ppc64le", "ppc64le", true, 21),
    machine("riscv64", "riscv64", true, 243),
    Machine {
        big_endian: true,
        ..machine("s390x", "s390x", true, 22)
    },
];

impl Machine {
    /// The processor of a platform.
    pub(super) fn of(arch: &str) -> Option<&'static Self> {
        MACHINES.iter().find(|machine| machine.arch == arch)
    }

    /// How a program starts that is loaded where it says. The byte that names the operating system is zero.
    pub(super) fn header(&self) -> [u8; LENGTH] {
        let class = if self.wide { 2 } else { 1 };
        let order = if self.big_endian { 2 } else { 1 };
        let (kind, number) = match self.big_endian {
            true => ([0, 2], self.number.to_be_bytes()),
            false => ([2, 0], self.number.to_le_bytes()),
        };
        let mut header = [0; LENGTH];
        header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
        header[16..18].copy_from_slice(&kind);
        header[18..].copy_from_slice(&number);
        header
    }

    /// Which bits of that count: programs that are loaded anywhere are as good, and the operating system's name is whatever the
    /// compiler put there.
    pub(super) fn mask(&self) -> [u8; LENGTH] {
        let mut mask = [0xff; LENGTH];
        mask[7] = 0;
        mask[if self.big_endian { 17 } else { 16 }] = 0xfe;
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_that_distributions_register() {
        let arm64 = Machine::of("arm64").unwrap();
        assert_eq!(
            arm64.header(),
            *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0"
        );
        assert_eq!(
            arm64.mask(),
            *b"\xff\xff\xff\xff\xff\xff\xff\0\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
        );
        let s390x = Machine::of("s390x").unwrap();
        assert_eq!(
            s390x.header(),
            *b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16"
        );
        assert_eq!(
            s390x.mask(),
            *b"\xff\xff\xff\xff\xff\xff\xff\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff"
        );
        let arm = Machine::of("arm").unwrap();
        assert_eq!(
            arm.header(),
            *b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x28\0"
        );
    }

    #[test]
    fn each_processor_is_there_once() {
        let mut names: Vec<_> = MACHINES.iter().map(|machine| machine.arch).collect();
        names.dedup();
        assert_eq!(names.len(), MACHINES.len());
        assert!(names.is_sorted());
        assert_eq!(Machine::of("wasm"), None);
    }
}
