//! Which commit a name means: the answer of `git ls-remote`, read.

use crate::plan::Revision;

/// Names that a message repeats.
const SHOWN: usize = 8;

/// A name of a remote repository and what it points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    refs: Vec<(String, String)>,
}

/// A name that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// `refs/heads/main`; nothing for a commit that was named by its hash.
    pub(super) name: Option<String>,
    /// The commit.
    pub(super) commit: String,
    /// The tag object, for an annotated tag.
    pub(super) tag: Option<String>,
}

impl Found {
    /// A commit that was named by its hash.
    pub(super) fn of_commit(commit: &str) -> Self {
        Self {
            name: None,
            commit: commit.to_owned(),
            tag: None,
        }
    }
}

impl Remote {
    /// Reads lines of a hash, a tab and a name. Lines that are none are skipped.
    pub(super) fn parse(output: &[u8]) -> Self {
        let text = String::from_utf8_lossy(output);
        let refs = text.lines().filter_map(|line| {
            let (hash, name) = line.split_once('\t')?;
            let is_hash =
                matches!(hash.len(), 40 | 64) && hash.bytes().all(|b| b.is_ascii_hexdigit());
            is_hash.then(|| (name.to_owned(), hash.to_owned()))
        });
        Self {
            refs: refs.collect(),
        }
    }

    fn hash(&self, name: &str) -> Option<&String> {
        let found = self.refs.iter().find(|(other, _)| other == name);
        found.map(|(_, hash)| hash)
    }

    fn get(&self, name: &str) -> Option<Found> {
        let hash = self.hash(name)?;
        let peeled = self.hash(&format!("{name}^{{}}"));
        Some(Found {
            name: Some(name.to_owned()),
            commit: peeled.unwrap_or(hash).clone(),
            tag: peeled.map(|_| hash.clone()),
        })
    }

    /// The first names there are, for a message.
    pub(super) fn shown(&self) -> String {
        let names: Vec<&str> = self.refs.iter().map(|(name, _)| name.as_str()).collect();
        let more = if names.len() > SHOWN { ", ..." } else { "" };
        let first = names.get(..SHOWN).unwrap_or(&names);
        first.join(", ") + more
    }

    /// The branch or tag whose name is closest to one that is not there.
    pub(super) fn similar(&self, wanted: &str) -> Option<String> {
        let names = self.refs.iter().filter_map(|(name, _)| {
            let name = name.strip_prefix("refs/")?;
            name.strip_prefix("heads/")
                .or_else(|| name.strip_prefix("tags/"))
        });
        let close = names
            .map(|name| (strsim::damerau_levenshtein(name, wanted), name))
            .min()?;
        let most = (wanted.len() / 3).clamp(1, 3);
        (close.0 <= most && close.0 > 0).then(|| close.1.to_owned())
    }

    /// What a revision means; a branch goes before a tag of the same name.
    pub(super) fn find(&self, revision: Option<&Revision>) -> Option<Found> {
        match revision {
            None => self.get("HEAD"),
            Some(Revision::Branch(name)) => self.get(&format!("refs/heads/{name}")),
            Some(Revision::Tag(name)) => self.get(&format!("refs/tags/{name}")),
            Some(Revision::Any(name)) => self
                .get(&format!("refs/heads/{name}"))
                .or_else(|| self.get(&format!("refs/tags/{name}")))
                .or_else(|| self.get(&format!("refs/{name}")))
                .or_else(|| name.starts_with("refs/").then(|| self.get(name)).flatten())
                .or_else(|| (name == "HEAD").then(|| self.get(name)).flatten()),
            Some(Revision::Commit(commit)) => Some(Found::of_commit(commit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn remote() -> Remote {
        let names = [
            ('a', "HEAD"),
            ('a', "refs/heads/main"),
            ('b', "refs/heads/both"),
            ('c', "refs/tags/both"),
            ('d', "refs/tags/v1"),
            ('e', "refs/tags/v1^{}"),
            ('f', "refs/pull/3/head"),
        ];
        let text: String = names
            .iter()
            .map(|(digit, name)| format!("{}\t{name}\n", hash(*digit)))
            .collect();
        Remote::parse(format!("warning: something\n{text}").as_bytes())
    }

    #[test]
    fn names_are_found_as_git_finds_them() {
        let any = |name: &str| Some(Revision::Any(name.to_owned()));
        for (revision, commit) in [
            (None, Some('a')),
            (any("main"), Some('a')),
            (any("both"), Some('b')),
            (any("v1"), Some('e')),
            (any("pull/3/head"), Some('f')),
            (any("refs/pull/3/head"), Some('f')),
            (any("refs/tags/both"), Some('c')),
            (any("HEAD"), Some('a')),
            (any("none"), None),
            (any("aaaaaaa"), None),
            (Some(Revision::Tag("both".to_owned())), Some('c')),
            (Some(Revision::Branch("v1".to_owned())), None),
            (Some(Revision::Commit(hash('9'))), Some('9')),
        ] {
            let found = remote().find(revision.as_ref());
            assert_eq!(found.map(|f| f.commit), commit.map(hash), "{revision:?}");
        }
    }

    #[test]
    fn what_is_not_there_has_neighbours() {
        for (wanted, similar) in [
            ("mian", Some("main")),
            ("v2", Some("v1")),
            ("bot", Some("both")),
            ("release", None),
        ] {
            assert_eq!(remote().similar(wanted).as_deref(), similar, "{wanted}");
        }
        let shown = "HEAD, refs/heads/main, refs/heads/both, refs/tags/both, refs/tags/v1, refs/tags/v1^{}, refs/pull/3/head";
        assert_eq!(remote().shown(), shown);
    }

    #[test]
    fn an_annotated_tag_has_two_hashes() {
        let found = remote()
            .find(Some(&Revision::Any("v1".to_owned())))
            .unwrap();
        assert_eq!((found.commit, found.tag), (hash('e'), Some(hash('d'))));
    }
}
