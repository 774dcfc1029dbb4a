//! Messages to the kernel's tables of links, routes and filters: their form, and the socket that they go through.
//!
//! About ten messages are all that a network takes, so they are written here rather than with crates for all of netlink. The
//! socket belongs to the network namespace of the thread that opened it, wherever it is used afterwards.

use std::os::fd::OwnedFd;

use rustix::io::{Errno, Result, retry_on_intr};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Asks for an answer, and changes what is there.
pub(super) const CHANGE: u16 = 0x1 | 0x4;
/// Asks for an answer, and makes what is not there.
pub(super) const CREATE: u16 = CHANGE | 0x400;
/// With [`CREATE`]: what is there already is a failure.
pub(super) const EXCLUSIVE: u16 = 0x200;
/// With [`CREATE`]: after what is there already.
pub(super) const APPEND: u16 = 0x800;
/// A message that gets no answer.
pub(super) const SILENT: u16 = 0x1;

const HEADER: usize = 16;
const NESTED: u16 = 0x8000;
const ANSWER: u16 = 2;
const ALIGNMENT: usize = 4;

/// One message in the making.
#[derive(Clone, Debug)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A message of a kind, with the fixed part that this kind begins with.
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend(fixed);
        Self(bytes)
    }

    /// Adds an attribute.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        attribute(&mut self.0, kind, value);
        self
    }

    /// Adds a text, ended as the kernel expects it.
    pub(super) fn with_text(self, kind: u16, text: &str) -> Self {
        self.with(kind, &terminated(text))
    }

    /// Adds an attribute that is made of attributes.
    pub(super) fn with_all(self, kind: u16, inner: &[u8]) -> Self {
        self.with(kind | NESTED, inner)
    }

    fn finished(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// Attributes that go into another one.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    /// After a fixed part.
    pub(super) fn after(fixed: &[u8]) -> Self {
        Self(fixed.to_vec())
    }

    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        attribute(&mut self.0, kind, value);
        self
    }

    pub(super) fn with_text(self, kind: u16, text: &str) -> Self {
        self.with(kind, &terminated(text))
    }

    pub(super) fn with_all(self, kind: u16, inner: &[u8]) -> Self {
        self.with(kind | NESTED, inner)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn terminated(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + ALIGNMENT).unwrap_or(u16::MAX);
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(ALIGNMENT), 0);
}

/// A way to one of the kernel's tables, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// To links, addresses and routes.
    pub(super) fn routes() -> Result<Self> {
        // The number of this table is the one for "whichever".
        Self::open(None)
    }

    /// To packet filters.
    pub(super) fn filters() -> Result<Self> {
        Self::open(Some(rustix::net::netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> Result<Self> {
        rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )
        .map(Self)
    }

    /// Has messages carried out, all of them or the first that fails.
    pub(super) fn carry_out(&self, messages: impl IntoIterator<Item = Message>) -> Result<()> {
        for message in messages {
            self.send(&message.finished(1))?;
            self.answers(1)?;
        }
        Ok(())
    }

    /// Has messages carried out as one: the first and the last are brackets, which get no answer.
    pub(super) fn carry_out_together(&self, messages: Vec<Message>) -> Result<()> {
        let answers = messages.len().saturating_sub(2);
        let numbered = (0..).zip(messages);
        let bytes: Vec<u8> = numbered
            .flat_map(|(number, message)| message.finished(number))
            .collect();
        self.send(&bytes)?;
        self.answers(answers)
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let sent = retry_on_intr(|| rustix::net::send(&self.0, bytes, SendFlags::empty()))?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(Errno::MSGSIZE)
        }
    }

    /// Waits for as many answers; a refusal of one is the result.
    fn answers(&self, mut awaited: usize) -> Result<()> {
        let mut buffer = vec![0; 16 << 10];
        while awaited > 0 {
            let (length, _) = retry_on_intr(|| {
                rustix::net::recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())
            })?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let Some((kind, body, after)) = split(rest) {
                rest = after;
                if kind != ANSWER {
                    continue;
                }
                if let Some(errno) = refusal(body) {
                    return Err(errno);
                }
                awaited = awaited.saturating_sub(1);
            }
        }
        Ok(())
    }
}

/// The first message of what was received: its kind, its body, and what follows.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    let after = bytes.get(length.next_multiple_of(ALIGNMENT)..);
    Some((kind, body, after.unwrap_or_default()))
}

fn refusal(body: &[u8]) -> Option<Errno> {
    let code = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    (code != 0).then(|| Errno::from_raw_os_error(code.saturating_neg()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_aligned_and_say_their_length() {
        let bytes = Message::new(16, CREATE, &[9; 4])
            .with_text(3, "eth0")
            .finished(7);
        assert_eq!(bytes.len(), 16 + 4 + 12);
        assert_eq!(bytes[..4], 32_u32.to_ne_bytes());
        assert_eq!(bytes[8..12], 7_u32.to_ne_bytes());
        assert_eq!(bytes[20..22], 9_u16.to_ne_bytes());
        assert_eq!(&bytes[24..32], b"eth0\0\0\0\0");
    }

    #[test]
    fn a_refusal_is_found_among_answers() {
        let answer = |code: i32| {
            let body = [&code.to_ne_bytes()[..], &[0; 16]].concat();
            Message::new(ANSWER, 0, &body).finished(1)
        };
        let both = [answer(0), answer(-17)].concat();
        let (kind, body, rest) = split(&both).unwrap();
        assert_eq!((kind, refusal(body)), (ANSWER, None));
        let (_, body, rest) = split(rest).unwrap();
        assert_eq!(refusal(body), Some(Errno::EXIST));
        assert!(split(rest).is_none());
    }

    #[test]
    fn the_kernel_answers() {
        let socket = Socket::routes().unwrap();
        // No link has this number.
        let fixed = [&[0; 4][..], &i32::MAX.to_ne_bytes(), &[0; 8]].concat();
        let missing = Message::new(19, CHANGE, &fixed);
        assert!(socket.carry_out([missing]).is_err());
    }
}
