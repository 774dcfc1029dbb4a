//! What a context or Dockerfile is, by the text that names it: folder, tarball, URL, repository, image, standard input.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::build::{ContextSource, DockerfileSource};
use crate::fsio;
use crate::oci::{Digest, Reference};
use crate::plan::{GitSource, HttpSource, Origin, context_name, is_git, is_http};

/// Reads the CONTEXT of `builder build`. What is there on this machine goes before what a text could mean elsewhere.
pub(super) fn main_context(path: &Path) -> Result<ContextSource, String> {
    let Some(text) = path.to_str() else {
        return Ok(local(path));
    };
    if text == "-" {
        return Ok(ContextSource::Stdin);
    }
    if fsio::metadata(path).is_ok() {
        return Ok(local(path));
    }
    if text.starts_with("github.com/") {
        return git(&format!("https://{text}")).map_err(unprepared);
    }
    if is_http(text) && !is_git(text) {
        let source = HttpSource::parse(text).map_err(unprepared)?;
        return Ok(ContextSource::Tree(Origin::Http(HttpSource {
            // A file that is no archive is the Dockerfile.
            file_name: "Dockerfile".to_owned(),
            unpack: true,
            ..source
        })));
    }
    match elsewhere(text) {
        Some(source) => source.map_err(unprepared),
        None if text.contains("://") => Err(unprepared(format!("unsupported context `{text}`"))),
        None => Ok(ContextSource::Directory(path.to_owned())),
    }
}

/// Reads a value of `--file`.
pub(super) fn dockerfile(path: &Path) -> Result<DockerfileSource, String> {
    match path.to_str() {
        Some("-") => Ok(DockerfileSource::Stdin),
        Some(text) if is_http(text) => HttpSource::parse(text)
            .map(DockerfileSource::Url)
            .map_err(|error| error.to_string()),
        _ => Ok(DockerfileSource::Path(path.to_owned())),
    }
}

/// Reads a value of `--build-context`: `name=DIR`, `name=TARBALL`, `name=URL`, `name=docker-image://REF`,
/// `name=oci-layout://DIR[:TAG][@DIGEST]`, `name=target:STAGE`. `name::PLATFORM` is for one platform only.
pub(super) fn named(text: &str) -> Result<(String, ContextSource), String> {
    let invalid = || format!("invalid context value: {text}, expected key=value");
    let (name, value) = text.split_once('=').ok_or_else(invalid)?;
    if name.is_empty() || value.is_empty() {
        return Err(invalid());
    }
    let plain = name.split("::").next().unwrap_or(name);
    if matches!(plain, "context" | "dockerfile" | "scratch") {
        return Err(format!(
            "`{name}` is reserved and cannot name a build context"
        ));
    }
    let path = Path::new(value);
    let source = if let Some(stage) = value.strip_prefix("target:") {
        ContextSource::Stage(stage.to_lowercase())
    } else if fsio::metadata(path).is_ok() {
        local(path)
    } else {
        match elsewhere(value) {
            Some(source) => source.map_err(|why| format!("build context `{name}`: {why}"))?,
            None if value.contains("://") => {
                return Err(format!("unsupported context source {value} for {name}"));
            }
            None => ContextSource::Directory(path.to_owned()),
        }
    };
    Ok((context_name(name), source))
}

/// `BUILDKIT_CONTEXT_KEEP_GIT_DIR`: `.git` is part of the main context if that is a repository.
pub(super) fn keep_git_dir(context: &mut ContextSource) -> Result<(), String> {
    match context {
        ContextSource::Tree(Origin::Git(source)) => source.keep_git_dir(true).map_err(unprepared),
        _ => Ok(()),
    }
}

/// What is wrong with the main context.
fn unprepared(why: impl Display) -> String {
    format!("unable to prepare context: {why}")
}

/// A folder, or a file that has to be an archive.
fn local(path: &Path) -> ContextSource {
    match fsio::metadata(path) {
        Ok(there) if there.is_file() => ContextSource::Tree(Origin::Archive(path.to_owned())),
        _ => ContextSource::Directory(path.to_owned()),
    }
}

/// What is not on this machine, or not a file of it; nothing for a path.
fn elsewhere(text: &str) -> Option<Result<ContextSource, String>> {
    if let Some(image) = text.strip_prefix("docker-image://") {
        if image == "scratch" {
            return Some(Ok(ContextSource::Scratch));
        }
        let reference = image.parse::<Reference>();
        return Some(
            reference
                .map(ContextSource::Image)
                .map_err(|e| e.to_string()),
        );
    }
    if let Some(layout) = text.strip_prefix("oci-layout://") {
        return Some(layout_source(layout));
    }
    if is_git(text) {
        return Some(git(text));
    }
    is_http(text).then(|| {
        let source = HttpSource::parse(text).map_err(|error| error.to_string())?;
        Ok(ContextSource::Tree(Origin::Http(HttpSource {
            unpack: true,
            ..source
        })))
    })
}

fn git(text: &str) -> Result<ContextSource, String> {
    GitSource::parse(text)
        .map(|source| ContextSource::Tree(Origin::Git(source)))
        .map_err(|error| error.to_string())
}

/// `DIR[:TAG][@DIGEST]`
fn layout_source(text: &str) -> Result<ContextSource, String> {
    let (rest, digest) = match text.rsplit_once('@') {
        Some((rest, digest)) if digest.starts_with("sha256:") => (
            rest,
            Some(
                digest
                    .parse::<Digest>()
                    .map_err(|error| error.to_string())?,
            ),
        ),
        _ => (text, None),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') && !path.is_empty() => (path, Some(tag.to_owned())),
        _ => (rest, None),
    };
    Ok(ContextSource::Layout {
        path: PathBuf::from(path),
        tag,
        digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts() {
        let layout = |text| named(text).unwrap();
        let expected = |tag: Option<&str>| ContextSource::Layout {
            path: PathBuf::from("/a/b"),
            tag: tag.map(str::to_owned),
            digest: None,
        };
        assert_eq!(
            layout("docker.io/library/x:latest=oci-layout:///a/b"),
            ("x".to_owned(), expected(None))
        );
        assert_eq!(
            layout("x:1=oci-layout:///a/b:t"),
            ("x:1".to_owned(), expected(Some("t")))
        );
        assert_eq!(
            layout("x=./dir").1,
            ContextSource::Directory("./dir".into())
        );
        assert_eq!(layout("x=docker-image://scratch").1, ContextSource::Scratch);
        assert_eq!(
            named("x::linux/aarch64=target:Tools").unwrap(),
            (
                "x::linux/arm64".to_owned(),
                ContextSource::Stage("tools".to_owned())
            )
        );
        for bad in ["x", "x=", "=y", "scratch=./a", "x=ftp://y"] {
            assert!(named(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn main_contexts() {
        let main = |text: &str| main_context(Path::new(text)).unwrap();
        assert_eq!(main("-"), ContextSource::Stdin);
        assert_eq!(main("/"), ContextSource::Directory("/".into()));
        assert_eq!(
            main("not/there"),
            ContextSource::Directory("not/there".into())
        );
        let remote = |text: &str| match main(text) {
            ContextSource::Tree(Origin::Git(git)) => git.name(),
            other => panic!("{text} is {other:?}"),
        };
        assert_eq!(remote("github.com/a/b#v1:c"), "https://github.com/a/b#v1:c");
        assert_eq!(remote("git@a.io:b"), "git@a.io:b");
        assert_eq!(remote("https://a.io/b.git"), "https://a.io/b.git");
        let ContextSource::Tree(Origin::Http(http)) = main("https://a.io/x.tar.gz") else {
            panic!("a URL is a URL");
        };
        assert_eq!((http.file_name.as_str(), http.unpack), ("Dockerfile", true));
        let file = tempfile::NamedTempFile::new().unwrap();
        let archive = ContextSource::Tree(Origin::Archive(file.path().to_owned()));
        assert_eq!(main_context(file.path()), Ok(archive));
        for (text, message) in [
            ("ftp://a.io/x", "unsupported context `ftp://a.io/x`"),
            ("git://a.io/x?y=1", "unexpected query \"y\""),
            (
                "http://a.io:x/",
                "invalid URL `http://...`: invalid port number",
            ),
            (
                "docker-image://A",
                "invalid reference format: repository name must be lowercase: `A`",
            ),
        ] {
            let message = format!("unable to prepare context: {message}");
            assert_eq!(main_context(Path::new(text)), Err(message));
        }
    }

    #[test]
    fn the_folder_of_git_is_kept_in_repositories() {
        let keep = |text: &str| {
            let mut context = main_context(Path::new(text)).unwrap();
            keep_git_dir(&mut context).map(|()| context)
        };
        let ContextSource::Tree(Origin::Git(git)) = keep("git://a.io/x").unwrap() else {
            panic!("a repository is one");
        };
        assert_eq!(git.keep_git_dir, Some(true));
        assert_eq!(keep("-"), Ok(ContextSource::Stdin));
        assert!(keep("git://a.io/x?keep-git-dir=0").is_err());
    }
}
