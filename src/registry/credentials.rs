//! stub
use std::path::Path;
/// Who we are, by registry.
#[derive(Clone, Debug, Default)]
pub struct Credentials;
/// Credentials that could not be got.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] crate::fsio::Error),
}
impl Credentials {
    /// Reads Docker's `config.json` and files of the same form (`containers/auth.json`); what comes first wins, a file that is
    /// not there is fine.
    ///
    /// # Errors
    /// A file that is there and cannot be read or understood.
    pub fn from_files<P: AsRef<Path>>(
        _paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, CredentialsError> {
        Ok(Self)
    }
}
