//! A commit of a Git repository as a tree.

use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use walkdir::WalkDir;

use super::command::Git;
use super::git_refs::{Found, Remote};
use super::tree::Facts;
use super::{FetchError, Fetcher, GitError};
use crate::agent::{Access, DEFAULT_ID};
use crate::fsio;
use crate::layer::{Entry, EntryKind};
use crate::oci::{Digest, Hasher};
use crate::plan::{GitSource, GitTime, Revision};
use crate::registry::Secret;
use crate::store::{CommitRecord, FetchedRecord};

/// The variable that SSH clients find an agent by.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";
/// The folder that makes a folder a repository.
const GIT_DIR: &str = ".git";

impl Fetcher {
    /// Gets a commit, unless it is here.
    pub(super) fn git(&self, source: &GitSource) -> Result<FetchedRecord, FetchError> {
        if self.client.is_offline() {
            return self.known_commit(source);
        }
        let scratch = self.store.scratch()?;
        let mut environment = self.git_environment.clone();
        let agent =
            self.agents
                .serve(DEFAULT_ID, &scratch.path().join("agent"), Access::PRIVATE)?;
        if let Some(agent) = &agent {
            environment.retain(|(name, _)| name != AGENT_VARIABLE);
            environment.push((AGENT_VARIABLE.into(), agent.path().into()));
        }
        let git = Git {
            environment: &environment,
            remote: &source.remote,
            authorization: self.git_authorization(source),
            offline: self.client.is_offline(),
            is_cancelled: &*self.is_cancelled,
        };
        let found = look_up(&git, scratch.path(), source)?;
        self.remember_commit(source, &found);
        check(source, &found)?;
        let key = key(source, &found.commit);
        // A tree with the time of its checkout is another one each time.
        let keeps = source.time == GitTime::Commit;
        if let Some(known) = self.remembered(key).filter(|_| keeps) {
            return Ok(known);
        }
        let _lock = self.lock(key)?;
        if let Some(known) = self.remembered(key).filter(|_| keeps) {
            return Ok(known);
        }
        let work = scratch.path().join("work");
        fsio::create_dir(&work)?;
        check_out(&git, &work, source, &found)?;
        let printed = git.must(&work, &["show", "--no-patch", "--format=%ct", "HEAD"])?;
        let committed = String::from_utf8_lossy(&printed).trim().parse().ok();
        let now = (self.clock)().duration_since(UNIX_EPOCH).ok();
        let mtime = match source.time {
            GitTime::Commit => committed,
            GitTime::Checkout => now.and_then(|now| i64::try_from(now.as_secs()).ok()),
        };
        let root = subdir(&work, &source.subdir)?;
        let keep = source.keep_git_dir == Some(true);
        if keep {
            forget_origin(&work)?;
        }
        let (entries, paths) = entries(&root, keep, mtime.unwrap_or(0))?;
        let open = |index: usize| Ok(Box::new(fsio::open(&paths[index])?) as Box<dyn Read>);
        let facts = Facts {
            time: committed,
            ..Facts::default()
        };
        self.keep(key, &source.name(), &entries, &open, facts)
    }

    /// The tree of the commit that the name meant when somebody was last asked.
    fn known_commit(&self, source: &GitSource) -> Result<FetchedRecord, FetchError> {
        let missing = || FetchError::Offline(source.name());
        let found = match name_key(source) {
            None => source.revision.as_ref().map(|r| Found::of_commit(r.name())),
            Some(key) => self.store.commit(key).map(|known| Found {
                name: None,
                commit: known.commit,
                tag: known.tag,
            }),
        };
        let found = found.ok_or_else(missing)?;
        // A name that meant something else then is not what is demanded.
        check(source, &found).map_err(|_| missing())?;
        self.remembered(key(source, &found.commit))
            .ok_or_else(missing)
    }

    /// Best effort: it serves builds that must not ask.
    fn remember_commit(&self, source: &GitSource, found: &Found) {
        let Some(key) = name_key(source) else {
            return;
        };
        let now = (self.clock)()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let _written = self.store.put_commit(&CommitRecord {
            key,
            commit: found.commit.clone(),
            tag: found.tag.clone(),
            asked: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        });
    }

    /// The header to show to the host, and the URL below which it may be shown: a secret, else the login in the URL. Only for
    /// HTTP; SSH has its agent.
    fn git_authorization(&self, source: &GitSource) -> Option<(String, Secret)> {
        let url = url::Url::parse(&source.remote).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let host = url.host_str()?;
        let secret = |id: &str| {
            self.secret(&format!("{id}.{host}"))
                .or_else(|| self.secret(id))
        };
        let header = secret("GIT_AUTH_HEADER")
            .map(|header| header.header())
            .or_else(|| {
                secret("GIT_AUTH_TOKEN").map(|token| token.as_password_of("x-access-token"))
            })
            .or_else(|| source.login.as_ref().map(super::http::basic))?;
        let origin = url.origin().ascii_serialization();
        Some((format!("{origin}/"), header))
    }
}

/// What a tree is made of: the same commit seen in another way is another tree.
fn key(source: &GitSource, commit: &str) -> Digest {
    let mut hasher = Hasher::new("fetched commit");
    hasher.field(&source.remote);
    hasher.field(commit);
    hasher.field(&source.subdir);
    hasher.number(u64::from(source.keep_git_dir == Some(true)));
    hasher.number(u64::from(source.submodules));
    hasher.number(u64::from(source.time == GitTime::Commit));
    hasher.finish()
}

/// What a name in a repository is remembered by; nothing for a commit, which is its own name.
fn name_key(source: &GitSource) -> Option<Digest> {
    let (kind, name) = match &source.revision {
        None => ("default", ""),
        Some(Revision::Any(name)) => ("any", name.as_str()),
        Some(Revision::Branch(name)) => ("branch", name.as_str()),
        Some(Revision::Tag(name)) => ("tag", name.as_str()),
        Some(Revision::Commit(_)) => return None,
    };
    let mut hasher = Hasher::new("name in a repository");
    hasher.field(&source.remote);
    hasher.field(kind);
    hasher.field(name);
    Some(hasher.finish())
}

/// The commit that is meant. One that was named by its hash needs nobody to say so.
fn look_up(git: &Git<'_>, folder: &Path, source: &GitSource) -> Result<Found, FetchError> {
    if let Some(Revision::Commit(commit)) = &source.revision {
        return Ok(Found::of_commit(commit));
    }
    // `--` would not be enough: the repository must not be taken for an option by helpers either, and it is none by grammar.
    let output = git.must(folder, &["ls-remote", "--", &source.remote])?;
    let remote = Remote::parse(&output);
    let missing = || {
        let reference = source.revision.as_ref().map_or("HEAD", Revision::name);
        GitError::NoRef {
            reference: reference.to_owned(),
            output: remote.shown(),
            similar: remote.similar(reference),
        }
    };
    Ok(remote.find(source.revision.as_ref()).ok_or_else(missing)?)
}

/// The commit, or its annotated tag, is the one that was demanded.
fn check(source: &GitSource, found: &Found) -> Result<(), GitError> {
    let Some(expected) = &source.checksum else {
        return Ok(());
    };
    let matches = |hash: &String| hash.starts_with(expected.as_str());
    if matches(&found.commit) || found.tag.as_ref().is_some_and(matches) {
        return Ok(());
    }
    Err(GitError::Checksum {
        expected: expected.clone(),
        found: found.commit.clone(),
    })
}

/// Fetches the one commit, with nothing before it where the server can do that, and checks it out.
fn check_out(
    git: &Git<'_>,
    work: &Path,
    source: &GitSource,
    found: &Found,
) -> Result<(), FetchError> {
    let format = if found.commit.len() == 64 {
        "sha256"
    } else {
        "sha1"
    };
    git.must(work, &["init", "--quiet", "--object-format", format])?;
    // A name, since a submodule with a relative URL asks where its parent came from. Logins are not part of it.
    git.must(work, &["remote", "add", "origin", &source.remote])?;
    let wanted = found.name.as_deref().unwrap_or(&found.commit);
    let shallow = [
        "fetch",
        "--quiet",
        "--no-tags",
        "--depth=1",
        "origin",
        wanted,
    ];
    let printed = git.run(work, &shallow)?;
    if !printed.success {
        // Some servers cannot send single commits, some not without what came before.
        let all = [
            "fetch",
            "--quiet",
            "--tags",
            "origin",
            "+refs/*:refs/remotes/origin/*",
        ];
        git.must(work, &all)?;
    }
    let commit = format!("{}^{{commit}}", found.commit);
    if !git.run(work, &["cat-file", "-e", &commit])?.success {
        // The name moved on between question and fetch, or there is no such commit.
        return Err(GitError::NoRef {
            reference: wanted.to_owned(),
            output: printed.stderr,
            similar: None,
        }
        .into());
    }
    git.must(work, &["checkout", "--quiet", "--detach", &found.commit])?;
    if source.submodules && fsio::symlink_metadata(work.join(".gitmodules")).is_ok() {
        let update = [
            "submodule",
            "--quiet",
            "update",
            "--init",
            "--recursive",
            "--depth=1",
        ];
        let printed = git.run(work, &update)?;
        if !printed.success {
            let whole = ["submodule", "--quiet", "update", "--init", "--recursive"];
            git.must(work, &whole)?;
        }
    }
    Ok(())
}

/// The directory that is asked for, which may be reached by links but not be outside.
fn subdir(work: &Path, subdir: &str) -> Result<PathBuf, FetchError> {
    if subdir.is_empty() {
        return Ok(work.to_owned());
    }
    let invalid = || GitError::Subdir(subdir.to_owned());
    let root = fsio::canonicalize(work)?;
    let found = fsio::canonicalize(work.join(subdir)).map_err(|_| invalid())?;
    let is_inside = found.starts_with(&root) && !found.starts_with(root.join(GIT_DIR));
    let is_directory = fsio::metadata(&found).is_ok_and(|metadata| metadata.is_dir());
    if is_inside && is_directory {
        Ok(found)
    } else {
        Err(invalid().into())
    }
}

/// What a kept `.git` need not say: where exactly it came from, and when.
fn forget_origin(work: &Path) -> Result<(), FetchError> {
    for name in ["FETCH_HEAD", "ORIG_HEAD"] {
        fsio::remove_file_if_there(work.join(GIT_DIR).join(name))?;
    }
    Ok(fsio::remove_tree(work.join(GIT_DIR).join("logs"))?)
}

/// The files of a checkout as they get into the tree: 0644 or 0755, of root, all of one time.
fn entries(root: &Path, keep: bool, mtime: i64) -> Result<(Vec<Entry>, Vec<PathBuf>), FetchError> {
    let mut entries = Vec::new();
    let mut paths = Vec::new();
    let walk = WalkDir::new(root).follow_links(false);
    // Submodules have a file of that name.
    let walk = walk
        .into_iter()
        .filter_entry(|found| keep || found.file_name() != GIT_DIR);
    for found in walk {
        let found = found.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            fsio::Error::new("walk", path, std::io::Error::from(error))
        })?;
        let path = found.path();
        let metadata = fsio::symlink_metadata(path)?;
        let below = path.strip_prefix(root).unwrap_or(path);
        let (kind, mode) = if metadata.is_dir() {
            (EntryKind::directory(), 0o755)
        } else if metadata.is_symlink() {
            let target = fsio::read_link(path)?;
            (EntryKind::Symlink { target }, 0o777)
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            let mode = if executable { 0o755 } else { 0o644 };
            (EntryKind::file(metadata.len()), mode)
        } else {
            continue;
        };
        let mut entry = Entry::new(below, kind, mode);
        entry.mtime = mtime;
        entries.push(entry);
        paths.push(path.to_owned());
    }
    Ok((entries, paths))
}
