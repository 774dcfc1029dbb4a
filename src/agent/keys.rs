//! An agent of our own for keys from files: they are read once, stay in memory, and sign.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _};
use rsa::{BigUint, RsaPrivateKey, pkcs1v15};
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::{Algorithm, Mpint, PrivateKey, PublicKey};

use super::AgentError;
use super::wire::{
    IDENTITIES, LIST, SIGN, SIGNATURE, put_number, put_string, take_number, take_string,
};
use crate::fsio;

/// The longest file of a key.
const MOST_BYTES: usize = 100 << 10;

/// Flags of a request to sign with an RSA key: which hash.
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// Keys that can sign, in the order they were given.
pub(super) struct KeyRing(Vec<Key>);

/// The debug form shows how many there are.
impl std::fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "<{} keys>", self.0.len())
    }
}

struct Key {
    /// The public key as it is on the wire: what requests name it by.
    public: Vec<u8>,
    private: Private,
}

enum Private {
    /// Signs in one way only.
    Simple(Box<PrivateKey>),
    /// Signs with the hash that is asked for.
    Rsa(Box<RsaPrivateKey>),
}

impl KeyRing {
    /// Reads files of private keys.
    ///
    /// # Errors
    /// A file that cannot be read, or a key that cannot be used.
    pub(super) fn read(paths: &[&PathBuf]) -> Result<Self, AgentError> {
        let keys = paths.iter().map(|path| Key::read(path));
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// The answer to a request to list or to sign; `None` if it is no such request or cannot be fulfilled.
    pub(super) fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        match request.split_first()? {
            (&LIST, []) => Some(self.list()),
            (&SIGN, mut rest) => {
                let public = take_string(&mut rest)?;
                let data = take_string(&mut rest)?;
                let flags = take_number(&mut rest)?;
                let key = self.0.iter().find(|key| key.public == public)?;
                let (algorithm, signature) = key.private.sign(data, flags)?;
                let mut inner = Vec::new();
                put_string(&mut inner, algorithm.as_bytes());
                put_string(&mut inner, &signature);
                let mut answer = vec![SIGNATURE];
                put_string(&mut answer, &inner);
                Some(answer)
            }
            _ => None,
        }
    }

    /// Comments are left out: they name users and machines, which a step need not know.
    fn list(&self) -> Vec<u8> {
        let mut answer = vec![IDENTITIES];
        put_number(&mut answer, self.0.len());
        for key in &self.0 {
            put_string(&mut answer, &key.public);
            put_string(&mut answer, b"");
        }
        answer
    }
}

impl Key {
    fn read(path: &Path) -> Result<Self, AgentError> {
        let mut text = Vec::new();
        let mut file = fsio::open(path)?.take(MOST_BYTES as u64 + 1);
        file.read_to_end(&mut text)
            .map_err(|source| fsio::Error::new("read", path, source))?;
        if text.len() > MOST_BYTES {
            return Err(AgentError::TooLarge {
                path: path.to_owned(),
            });
        }
        let text =
            String::from_utf8(text).map_err(|_binary| malformed(path, "it is not a text"))?;
        Self::parse(text.trim_start(), path)
    }

    /// Reads OpenSSH's own format, and the older ones of RSA keys.
    fn parse(text: &str, path: &Path) -> Result<Self, AgentError> {
        let encrypted = || AgentError::Encrypted {
            path: path.to_owned(),
        };
        let label = text
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.split_once("-----"));
        match label.map(|(label, _)| label) {
            Some("OPENSSH PRIVATE KEY") => {
                let key = PrivateKey::from_openssh(text).map_err(|error| malformed(path, error))?;
                if key.is_encrypted() {
                    return Err(encrypted());
                }
                Self::openssh(key, path)
            }
            Some("ENCRYPTED PRIVATE KEY") => Err(encrypted()),
            Some("RSA PRIVATE KEY") if text.contains("Proc-Type: 4,ENCRYPTED") => Err(encrypted()),
            Some("RSA PRIVATE KEY") => {
                let key = RsaPrivateKey::from_pkcs1_pem(text);
                Self::rsa(key.map_err(|error| malformed(path, error))?, path)
            }
            Some("PRIVATE KEY") => {
                let key = RsaPrivateKey::from_pkcs8_pem(text);
                Self::rsa(key.map_err(|error| malformed(path, error))?, path)
            }
            Some(label) => Err(malformed(
                path,
                format!("files of the kind `{label}` are not known"),
            )),
            None => Err(malformed(path, "it does not begin like one")),
        }
    }

    fn rsa(key: RsaPrivateKey, path: &Path) -> Result<Self, AgentError> {
        let public = RsaPublicKey::try_from(key.to_public_key());
        let public = public.map_err(|error| malformed(path, error))?;
        Self::new(public.into(), Private::Rsa(Box::new(key)), path)
    }

    fn openssh(key: PrivateKey, path: &Path) -> Result<Self, AgentError> {
        match key.key_data() {
            KeypairData::Rsa(pair) => {
                let key = rsa_key(pair).ok_or_else(|| malformed(path, "its numbers do not fit"))?;
                Self::rsa(key, path)
            }
            KeypairData::Ed25519(_) | KeypairData::Ecdsa(_) => {
                let public = key.public_key().key_data().clone();
                Self::new(public, Private::Simple(Box::new(key)), path)
            }
            _ => Err(unsupported(path, &key.algorithm())),
        }
    }

    fn new(public: KeyData, private: Private, path: &Path) -> Result<Self, AgentError> {
        let kind = public.algorithm();
        let public = PublicKey::new(public, "").to_bytes();
        let public = public.map_err(|error| malformed(path, error))?;
        // A curve that is not built in is told now, not when something is to be signed.
        match private.sign(b"", RSA_SHA2_256) {
            Some(_) => Ok(Self { public, private }),
            None => Err(unsupported(path, &kind)),
        }
    }
}

/// The key of its numbers, checked. (The conversion that the crate `ssh-key` 0.6 has takes one prime twice.)
fn rsa_key(pair: &RsaKeypair) -> Option<RsaPrivateKey> {
    let number = |number: &Mpint| number.as_positive_bytes().map(BigUint::from_bytes_be);
    let primes = vec![number(&pair.private.p)?, number(&pair.private.q)?];
    let (n, e) = (number(&pair.public.n)?, number(&pair.public.e)?);
    let key = RsaPrivateKey::from_components(n, e, number(&pair.private.d)?, primes).ok()?;
    key.validate().ok()?;
    Some(key)
}

impl Private {
    /// A signature and the name of its algorithm. With RSA only the hashes that servers still take.
    fn sign(&self, data: &[u8], flags: u32) -> Option<(String, Vec<u8>)> {
        match self {
            Self::Simple(key) => {
                let signature = key.try_sign(data).ok()?;
                let name = signature.algorithm().as_str().to_owned();
                Some((name, signature.as_bytes().to_vec()))
            }
            Self::Rsa(key) => {
                let key = RsaPrivateKey::clone(key);
                let mut random = rsa::rand_core::OsRng;
                // Blinded with random numbers: the time that it takes says nothing about the key.
                let (name, signature) = if flags & RSA_SHA2_256 != 0 {
                    let key = pkcs1v15::SigningKey::<rsa::sha2::Sha256>::new(key);
                    ("rsa-sha2-256", key.try_sign_with_rng(&mut random, data))
                } else if flags & RSA_SHA2_512 != 0 {
                    let key = pkcs1v15::SigningKey::<rsa::sha2::Sha512>::new(key);
                    ("rsa-sha2-512", key.try_sign_with_rng(&mut random, data))
                } else {
                    return None;
                };
                Some((name.to_owned(), signature.ok()?.to_vec()))
            }
        }
    }
}

fn malformed(path: &Path, reason: impl ToString) -> AgentError {
    AgentError::Malformed {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn unsupported(path: &Path, kind: &Algorithm) -> AgentError {
    AgentError::Unsupported {
        path: path.to_owned(),
        kind: kind.to_string(),
    }
}
