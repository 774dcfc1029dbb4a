//! Git repositories as contexts and as sources of ADD: the two forms in which a URL says what is meant of them.
//!
//! `URL#REF:SUBDIR` is the old form, `URL?ref=REF&subdir=SUBDIR` the new one, which can say more; both may be used at once
//! where they agree.

use url::Url;

use super::git_query::{Query, agreed};
use super::{Login, is_http, take_login};

/// A tree of a Git repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GitSource {
    /// The repository as `git` takes it: a URL without login, or `user@host:path`.
    pub remote: String,
    /// Who asks, where the URL says so.
    pub login: Option<Login>,
    /// Which commit; the remote's default branch if absent.
    pub revision: Option<Revision>,
    /// Beginning of the commit that it has to be, in lower-case hexadecimal.
    pub checksum: Option<String>,
    /// Directory in the repository, without slashes around it; empty for all of it.
    pub subdir: String,
    /// Whether `.git` is part of the tree.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are part of the tree.
    pub submodules: bool,
    /// Times of the files.
    pub time: GitTime,
}

/// Which commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    /// A branch, else a tag, else a name below `refs/`, else a whole commit.
    Any(String),
    /// A branch.
    Branch(String),
    /// A tag.
    Tag(String),
    /// A whole commit.
    Commit(String),
}

impl Revision {
    /// The branch, tag, name or commit, whichever it is.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Any(name) | Self::Branch(name) | Self::Tag(name) | Self::Commit(name) => name,
        }
    }
}

/// Times of the files of a repository, which keeps none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GitTime {
    /// When the commit was made: the same for everybody.
    Commit,
    /// When it was fetched.
    Checkout,
}

/// A text that is no Git source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// Not a URL.
    #[error("invalid Git URL: {0}")]
    Url(String),
    /// An option that does not exist.
    #[error("unexpected query \"{0}\"")]
    Unexpected(String),
    /// An option without a value.
    #[error("query \"{0}\" has no value")]
    NoValue(String),
    /// An option that is given twice.
    #[error("query \"{0}\" has multiple values")]
    Several(String),
    /// A value that the option does not take.
    #[error("invalid {key} value: \"{value}\"")]
    Value {
        /// The option.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// Two that exclude each other.
    #[error("{0}")]
    Conflict(String),
    /// A checksum that is none.
    #[error("invalid checksum {0} for Git URL, expected hex commit hash")]
    Checksum(String),
}

/// Whether a text names a Git repository: `git://`, `ssh://`, `user@host:path`, or an `http(s)` URL whose path ends in `.git`.
#[must_use]
pub fn is_git(text: &str) -> bool {
    let address = text.split(['#', '?']).next().unwrap_or_default();
    address.starts_with("git://")
        || address.starts_with("ssh://")
        || scp_parts(address).is_some()
        || (is_http(text) && address.ends_with(".git"))
}

/// `user@host` and `path` of `user@host:path`.
fn scp_parts(address: &str) -> Option<(&str, &str)> {
    let (login, path) = address.split_once(':')?;
    let (user, host) = login.split_once('@')?;
    let is_word = |text: &str, more: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    // Nothing that `git` or `ssh` could take for an option.
    let fine = is_word(user, "-_")
        && is_word(host, "-.")
        && !user.starts_with('-')
        && !host.starts_with('-');
    (fine && !path.is_empty()).then_some((login, path))
}

impl GitSource {
    /// Reads either form.
    ///
    /// # Errors
    /// No repository, options that do not exist or contradict each other.
    pub fn parse(text: &str) -> Result<Self, GitError> {
        let (before, fragment) = match text.split_once('#') {
            Some((before, fragment)) => (before, Some(fragment)),
            None => (text, None),
        };
        let (address, query) = match before.split_once('?') {
            Some((address, query)) => (address, Query::parse(query)?),
            None => (before, Query::default()),
        };
        let (remote, login) = remote(address)?;
        let (reference, subdir) = fragment.map_or((None, None), split_fragment);
        let revision = query.revision(reference)?;
        let subdir = agreed("subdir", subdir, query.subdir)?.unwrap_or_default();
        let mut source = Self {
            remote,
            login,
            revision,
            checksum: None,
            subdir: clean(&subdir),
            keep_git_dir: query.keep_git_dir,
            submodules: query.submodules.unwrap_or(true),
            time: query.time.unwrap_or(GitTime::Commit),
        };
        if let Some(checksum) = &query.checksum {
            source.expect(checksum)?;
        }
        // Without another name a whole commit is the name.
        if let (None, Some(commit)) = (&source.revision, &source.checksum)
            && is_whole_commit(commit)
        {
            source.revision = Some(Revision::Commit(commit.clone()));
        }
        Ok(source)
    }

    /// Demands a commit, which the URL may have demanded already.
    ///
    /// # Errors
    /// Not hexadecimal, or another one than the URL's.
    pub fn expect(&mut self, checksum: &str) -> Result<(), GitError> {
        let wanted = checksum.to_ascii_lowercase();
        let is_hex = wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !(1..=64).contains(&wanted.len()) {
            return Err(GitError::Checksum(checksum.to_owned()));
        }
        match &self.checksum {
            Some(other) if *other != wanted => Err(GitError::Conflict(format!(
                "checksum mismatch \"{other}\" != \"{wanted}\""
            ))),
            _ => {
                self.checksum = Some(wanted);
                Ok(())
            }
        }
    }

    /// Asks for `.git` to be kept or not, which the URL may have done already.
    ///
    /// # Errors
    /// The URL says something else.
    pub fn keep_git_dir(&mut self, keep: bool) -> Result<(), GitError> {
        match self.keep_git_dir {
            Some(other) if other != keep => Err(GitError::Conflict(
                "inconsistent keep-git-dir configuration".to_owned(),
            )),
            _ => {
                self.keep_git_dir = Some(keep);
                Ok(())
            }
        }
    }

    /// As shown to people.
    #[must_use]
    pub fn name(&self) -> String {
        let revision = self.revision.as_ref().map_or("", Revision::name);
        match (revision, self.subdir.as_str()) {
            ("", "") => self.remote.clone(),
            (revision, "") => format!("{}#{revision}", self.remote),
            (revision, subdir) => format!("{}#{revision}:{subdir}", self.remote),
        }
    }
}

/// Whether a text is a whole commit hash, SHA-1 or SHA-256.
pub(super) fn is_whole_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn remote(address: &str) -> Result<(String, Option<Login>), GitError> {
    if scp_parts(address).is_some() {
        return Ok((address.to_owned(), None));
    }
    let mut url = Url::parse(address).map_err(|error| GitError::Url(error.to_string()))?;
    if url
        .host_str()
        .is_none_or(|host| host.is_empty() || host.starts_with('-'))
    {
        return Err(GitError::Url("it has no host".to_owned()));
    }
    let login = if url.scheme() == "ssh" {
        // The user of an SSH address is no secret and has to stay; a password is of no use there.
        let _cleared = url.set_password(None);
        None
    } else {
        take_login(&mut url)
    };
    Ok((url.to_string(), login))
}

/// `REF:SUBDIR`; both parts may be missing.
fn split_fragment(fragment: &str) -> (Option<String>, Option<String>) {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    match fragment.split_once(':') {
        Some((reference, subdir)) => (some(reference), some(subdir)),
        None => (some(fragment), None),
    }
}

/// A directory as a path below the root, from which `..` does not lead out.
fn clean(subdir: &str) -> String {
    let mut parts = Vec::new();
    for part in subdir.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn what_is_git() {
        for (text, expected) in [
            ("https://a.io/x.git", true),
            ("https://a.io/x.git#main:dir", true),
            ("https://a.io/x.git?ref=main", true),
            ("https://a.io/x", false),
            ("https://a.io/x#y.git", false),
            ("git://a.io/x", true),
            ("ssh://git@a.io:22/x", true),
            ("git@a.io:x/y", true),
            ("me@a.io:x", true),
            ("a:b", false),
            ("-o@a.io:x", false),
            ("git@-oProxyCommand=x:y", false),
            ("./x.git", false),
            ("x.git", false),
        ] {
            assert_eq!(is_git(text), expected, "{text}");
        }
    }

    fn parsed(text: &str) -> (String, Option<Revision>, String) {
        let source = GitSource::parse(text).unwrap();
        (source.remote, source.revision, source.subdir)
    }

    #[test]
    fn both_forms_say_the_same() {
        let any = |name: &str| Some(Revision::Any(name.to_owned()));
        let url = "https://a.io/x.git".to_owned();
        for (text, revision, subdir) in [
            ("https://a.io/x.git", None, ""),
            ("https://a.io/x.git#", None, ""),
            ("https://a.io/x.git#main", any("main"), ""),
            ("https://a.io/x.git#main:a/b", any("main"), "a/b"),
            ("https://a.io/x.git#:/../a/./b/", None, "a/b"),
            ("https://a.io/x.git?ref=main&subdir=a", any("main"), "a"),
            ("https://a.io/x.git?ref=main#main:a", any("main"), "a"),
            (
                "https://a.io/x.git?branch=main#main",
                Some(Revision::Branch("main".to_owned())),
                "",
            ),
            (
                "https://a.io/x.git?tag=v1",
                Some(Revision::Tag("v1".to_owned())),
                "",
            ),
            (
                &format!("https://a.io/x.git#{COMMIT}"),
                Some(Revision::Commit(COMMIT.to_owned())),
                "",
            ),
            (
                &format!("https://a.io/x.git?commit={COMMIT}"),
                Some(Revision::Commit(COMMIT.to_owned())),
                "",
            ),
        ] {
            assert_eq!(
                parsed(text),
                (url.clone(), revision, subdir.to_owned()),
                "{text}"
            );
        }
        assert_eq!(parsed("git@a.io:x/y#v1:d").0, "git@a.io:x/y");
        assert_eq!(parsed("ssh://me:pw@a.io/x").0, "ssh://me@a.io/x");
    }

    #[test]
    fn options_of_the_query() {
        let source = GitSource::parse(&format!(
            "https://a.io/x.git?ref=v1&checksum={}&keep-git-dir&submodules=0&mtime=checkout&fetch-by-commit=1",
            &COMMIT[..10]
        ))
        .unwrap();
        assert_eq!(source.revision, Some(Revision::Any("v1".to_owned())));
        assert_eq!(source.checksum.as_deref(), Some(&COMMIT[..10]));
        assert_eq!(source.keep_git_dir, Some(true));
        assert!(!source.submodules);
        assert_eq!(source.time, GitTime::Checkout);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (query, message) in [
            ("?x=1", "unexpected query \"x\""),
            ("?x", "unexpected query \"x\""),
            ("?ref", "query \"ref\" has no value"),
            ("?ref=a&ref=b", "query \"ref\" has multiple values"),
            (
                "?commit=0123456&checksum=0123456",
                "query \"checksum\" has multiple values",
            ),
            ("?ref=a#b", "ref conflicts: \"b\" vs \"a\""),
            ("?branch=a#b", "ref conflicts: \"b\" vs \"a\""),
            ("?branch=a&tag=a", "branch conflicts with tag"),
            ("?subdir=a#:b", "subdir conflicts: \"b\" vs \"a\""),
            ("?mtime=never", "invalid mtime value: \"never\""),
            (
                "?submodules=perhaps",
                "invalid submodules value: \"perhaps\"",
            ),
            (
                "?checksum=xyz",
                "invalid checksum xyz for Git URL, expected hex commit hash",
            ),
        ] {
            let text = format!("https://a.io/x.git{query}");
            let error = GitSource::parse(&text).unwrap_err();
            assert_eq!(error.to_string(), message, "{query}");
        }
        let mut source =
            GitSource::parse("https://a.io/x.git?keep-git-dir=0&commit=0123456").unwrap();
        assert_eq!(
            source.keep_git_dir(true).unwrap_err().to_string(),
            "inconsistent keep-git-dir configuration"
        );
        assert_eq!(
            source.expect("abcdef0").unwrap_err().to_string(),
            "checksum mismatch \"0123456\" != \"abcdef0\""
        );
        assert!(source.expect("0123456").is_ok());
    }

    #[test]
    fn logins_are_taken_out() {
        let source = GitSource::parse("https://user:token@a.io/x.git#main").unwrap();
        assert_eq!(source.name(), "https://a.io/x.git#main");
        assert!(source.login.is_some());
        assert!(!format!("{source:?}").contains("token"));
    }
}
