//! What a build starts from: the main context, wherever it comes from, and the Dockerfile in it or beside it.
//!
//! A context that is no folder is fetched before anything is planned, since the Dockerfile may be in it. It is then a base like
//! others. What is in such a context stays as it is: ignore files are for folders.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::error::{self, BuildError};
use super::request::{ContextSource, DockerfileSource, Request};
use super::{ImageResolver, ResolveError, Sources, Vertices};
use crate::context::{IgnoreFile, LocalContext};
use crate::dockerfile::{self, Dockerfile};
use crate::fetch::FetchError;
use crate::fsio;
use crate::layer;
use crate::oci::{BaseImage, Platform};
use crate::plan::{BaseRequest, BaseSource, HttpSource, MainContext, Origin, ResolvedBases};
use crate::sandbox::Cancel;
use crate::solve;
use crate::source::{Diagnostic, SourceFile};
use crate::store::{Scratch, Store};

/// The most that a Dockerfile may have: whatever it is, a device without an end or a file from elsewhere, it is held in memory.
const LARGEST_DOCKERFILE: u64 = 16 << 20;
/// The most that a Dockerfile at a URL may have.
const LARGEST_DOWNLOAD: u64 = 2 << 20;
/// How often somebody who waits for standard input looks whether the user wants to stop.
const STOP_POLL: Duration = Duration::from_millis(20);

/// How standard input is called in messages.
const STDIN: &str = "standard input";

/// What contexts and Dockerfiles are read with.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    /// Finds and fetches what is not on this machine.
    pub resolver: &'a dyn ImageResolver,
    /// Where what was fetched is; only needed for that.
    pub store: Option<&'a Arc<Store>>,
    /// Standard input.
    pub stdin: fn() -> Box<dyn Read + Send>,
    /// The user's wish to stop.
    pub cancel: Cancel,
}

/// Context and Dockerfile, found and not yet looked into.
#[derive(Debug)]
pub(super) struct Opened {
    /// The text of the Dockerfile.
    pub(super) file: SourceFile,
    /// What planning has to know of the context.
    pub(super) context: MainContext,
    /// The context, if it is a folder.
    pub(super) folder: Option<PathBuf>,
    /// The Dockerfile, if it is a file of this machine.
    pub(super) path: Option<PathBuf>,
    /// What is resolved already.
    pub(super) resolved: ResolvedBases,
    /// Names context and Dockerfile for the memory of what was built where.
    pub(super) place: String,
}

/// The main context.
enum Context {
    Folder(PathBuf),
    Empty,
    Base(Box<BaseRequest>, Arc<BaseImage>),
}

/// The text of a Dockerfile, its name, and its path if it is a file of this machine.
struct Text {
    bytes: Vec<u8>,
    name: String,
    path: Option<PathBuf>,
}

/// Opens context and Dockerfile.
///
/// # Errors
/// Either cannot be had.
pub(super) fn open(
    request: &Request,
    reader: &Reader<'_>,
    sources: &mut Sources,
    vertices: &mut Vertices<'_>,
) -> Result<Opened, BuildError> {
    let (context, text) = context(request, reader, vertices)?;
    let text = match text {
        Some(text) => text,
        None => read(request, reader, &context, vertices)?,
    };
    let file = sources.map.add(text.name.clone(), text.bytes)?;
    let path = text.path.map(fsio::canonicalize).transpose()?;
    let shown = match &path {
        Some(path) => path.display().to_string(),
        None => text.name,
    };
    let mut resolved = ResolvedBases::new();
    let (folder, context, of) = match context {
        Context::Folder(folder) => (Some(folder), MainContext::Directory, String::new()),
        Context::Empty => (None, MainContext::Empty, String::new()),
        Context::Base(request, image) => {
            let of = format!("{} ", image.name);
            let context = MainContext::Base(request.source.clone());
            resolved.insert(*request, image);
            (None, context, of)
        }
    };
    Ok(Opened {
        file,
        context,
        folder,
        path,
        resolved,
        place: format!("{of}{shown}"),
    })
}

/// The syntax tree of a Dockerfile, and what the parser noticed.
///
/// # Errors
/// Mistakes.
pub(super) fn parse(file: &SourceFile) -> Result<(Dockerfile, Vec<Diagnostic>), BuildError> {
    let parsed = dockerfile::parse(file);
    match parsed.dockerfile {
        Some(dockerfile) if !parsed.diagnostics.iter().any(Diagnostic::is_error) => {
            Ok((dockerfile, parsed.diagnostics))
        }
        _ => Err(BuildError::Dockerfile(parsed.diagnostics)),
    }
}

/// The file that is meant, for messages, whether or not it is there.
pub(super) fn dockerfile_path(request: &Request) -> PathBuf {
    match (&request.source.dockerfile, &request.source.context) {
        (Some(DockerfileSource::Path(path)), _) => path.clone(),
        (None, ContextSource::Directory(folder)) => usual(folder),
        _ => PathBuf::from("Dockerfile"),
    }
}

/// The main context; with the Dockerfile, where standard input is one.
fn context(
    request: &Request,
    reader: &Reader<'_>,
    vertices: &mut Vertices<'_>,
) -> Result<(Context, Option<Text>), BuildError> {
    match &request.source.context {
        ContextSource::Directory(path) => {
            // A wrong context is said before a Dockerfile that is missing because of it.
            LocalContext::open(path, IgnoreFile::none())?;
            return Ok((Context::Folder(path.clone()), None));
        }
        ContextSource::Stdin => return standard_input(request, reader, vertices),
        _ => {}
    }
    // A stage stands for a name, and the main context has none.
    let Some(source) = request.source.context.base() else {
        return Ok((Context::Empty, None));
    };
    let platforms = &request.plan.platforms;
    let platform = platforms.first().cloned().unwrap_or_else(Platform::host);
    let base = BaseRequest::new(source, &platform, &Platform::host());
    let name = error::image_name(&base);
    let image = fetched(reader, &base, &name, &name, vertices)?;
    Ok((Context::Base(Box::new(base), Arc::new(image)), None))
}

/// A context that is no folder, had from wherever it is.
fn fetched(
    reader: &Reader<'_>,
    base: &BaseRequest,
    name: &str,
    label: &str,
    vertices: &mut Vertices<'_>,
) -> Result<BaseImage, BuildError> {
    vertices.work(format!("[internal] load build context {label}"), |_, _| {
        let failed = |source| BuildError::ContextSource {
            name: name.to_owned(),
            source,
        };
        let found = reader.resolver.resolve(base).map_err(failed)?;
        Ok(found.image)
    })
}

/// An archive, which is then the context, or a Dockerfile, which then has none.
fn standard_input(
    request: &Request,
    reader: &Reader<'_>,
    vertices: &mut Vertices<'_>,
) -> Result<(Context, Option<Text>), BuildError> {
    let scratch = store(reader)?.scratch()?;
    let path = spool(reader, &scratch)?;
    let unfit = |source| BuildError::StandardInput(Box::new(source));
    if layer::open_archive(&path).map_err(unfit)?.is_some() {
        let source = BaseSource::Tree(Origin::Archive(path));
        let base = BaseRequest::new(source, &Platform::host(), &Platform::host());
        let fetched = fetched(reader, &base, STDIN, "from standard input", vertices);
        let mut image = fetched.map_err(of_standard_input)?;
        // The path is another one each time.
        STDIN.clone_into(&mut image.name);
        return Ok((Context::Base(Box::new(base), Arc::new(image)), None));
    }
    if request.source.dockerfile.is_some() {
        return Err(BuildError::AmbiguousDockerfile);
    }
    let text = Text {
        bytes: limited(fsio::open(&path)?, LARGEST_DOCKERFILE, STDIN)?,
        name: "Dockerfile".to_owned(),
        path: None,
    };
    Ok((Context::Empty, Some(text)))
}

/// The error without the name of the file that standard input was put into.
fn of_standard_input(mut error: BuildError) -> BuildError {
    if let BuildError::ContextSource {
        source: ResolveError::Fetch(FetchError::Unfit { name, .. }),
        ..
    } = &mut error
    {
        STDIN.clone_into(name);
    }
    error
}

fn store<'r>(reader: &Reader<'r>) -> Result<&'r Store, BuildError> {
    let none = || BuildError::ContextSource {
        name: STDIN.to_owned(),
        source: ResolveError::NoStore,
    };
    reader.store.map(AsRef::as_ref).ok_or_else(none)
}

/// Standard input as a file: it may be of any size, and has to be looked at twice.
fn spool(reader: &Reader<'_>, scratch: &Scratch) -> Result<PathBuf, BuildError> {
    let path = scratch.path().join("stdin");
    let mut file = fsio::create(&path)?;
    let mut input = (reader.stdin)();
    let copied = apart(reader, move || std::io::copy(&mut input, &mut file))?;
    copied.map_err(|source| fsio::Error::new("copy standard input to", &path, source))?;
    Ok(path)
}

/// Reads on a thread of its own: one that waits for standard input cannot be woken, only be left alone.
fn apart<T: Send + 'static>(
    reader: &Reader<'_>,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BuildError> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(read()));
    loop {
        match receiver.recv_timeout(STOP_POLL) {
            Ok(read) => return Ok(read),
            // The other end goes away without an answer only if it panicked.
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(BuildError::Interrupted),
            Err(mpsc::RecvTimeoutError::Timeout) if reader.cancel.is_cancelled() => {
                return Err(BuildError::Interrupted);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

/// The Dockerfile, from wherever it is asked for.
fn read(
    request: &Request,
    reader: &Reader<'_>,
    context: &Context,
    vertices: &mut Vertices<'_>,
) -> Result<Text, BuildError> {
    let label = |name: &str| format!("[internal] load build definition from {name}");
    match (&request.source.dockerfile, context) {
        (Some(DockerfileSource::Stdin), _) => vertices.work(label("-"), |_, _| {
            let input = (reader.stdin)();
            let read = move || limited(input, LARGEST_DOCKERFILE, STDIN);
            Ok(Text {
                bytes: apart(reader, read)??,
                name: "Dockerfile".to_owned(),
                path: None,
            })
        }),
        (Some(DockerfileSource::Url(source)), _) => {
            vertices.work(label(&source.file_name), |_, _| download(reader, source))
        }
        (Some(DockerfileSource::Path(path)), Context::Base(_, image)) if !path.is_absolute() => {
            vertices.work(label(&path.display().to_string()), |_, _| {
                in_base(reader, image, path)?.ok_or_else(|| missing_in(image, path))
            })
        }
        (None, Context::Base(_, image)) => vertices.work(label("Dockerfile"), |_, _| {
            let names = ["Dockerfile", "dockerfile"];
            let found = names
                .iter()
                .find_map(|name| in_base(reader, image, Path::new(name)).transpose());
            found.unwrap_or_else(|| Err(missing_in(image, Path::new("Dockerfile"))))
        }),
        (Some(DockerfileSource::Path(path)), Context::Folder(folder)) => {
            local(path, vertices).map_err(|error| elsewhere(error, folder, path))
        }
        (Some(DockerfileSource::Path(path)), _) => local(path, vertices),
        (None, Context::Folder(folder)) => local(&usual(folder), vertices),
        (None, Context::Empty) => Err(missing(Path::new("Dockerfile"))),
    }
}

/// Says so if a Dockerfile that is not there is in the context.
fn elsewhere(error: BuildError, folder: &Path, path: &Path) -> BuildError {
    let inside = folder.join(path);
    match error {
        BuildError::ReadDockerfile(source)
            if source.is_not_found() && fsio::metadata(&inside).is_ok() =>
        {
            BuildError::DockerfileInContext { source, inside }
        }
        error => error,
    }
}

/// `Dockerfile`, else `dockerfile`, in a folder.
fn usual(folder: &Path) -> PathBuf {
    let (usual, lower) = (folder.join("Dockerfile"), folder.join("dockerfile"));
    if fsio::metadata(&usual).is_err() && fsio::metadata(&lower).is_ok() {
        lower
    } else {
        usual
    }
}

fn local(path: &Path, vertices: &mut Vertices<'_>) -> Result<Text, BuildError> {
    let name = path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    vertices.work(
        format!("[internal] load build definition from {name}"),
        |_, _| {
            Ok(Text {
                bytes: limited(
                    fsio::open(path).map_err(BuildError::ReadDockerfile)?,
                    LARGEST_DOCKERFILE,
                    &name,
                )?,
                name,
                path: Some(path.to_owned()),
            })
        },
    )
}

fn in_base(
    reader: &Reader<'_>,
    image: &BaseImage,
    path: &Path,
) -> Result<Option<Text>, BuildError> {
    let found = solve::open_file(store(reader)?, image, path).map_err(BuildError::ContextFile)?;
    let Some(content) = found else {
        return Ok(None);
    };
    let name = path.display().to_string();
    Ok(Some(Text {
        bytes: limited(content, LARGEST_DOCKERFILE, &name)?,
        name,
        path: None,
    }))
}

fn download(reader: &Reader<'_>, source: &HttpSource) -> Result<Text, BuildError> {
    let origin = BaseSource::Tree(Origin::Http(source.clone()));
    let base = BaseRequest::new(origin, &Platform::host(), &Platform::host());
    let failed = |error| BuildError::ContextSource {
        name: source.url.clone(),
        source: error,
    };
    let image = reader.resolver.resolve(&base).map_err(failed)?.image;
    let path = Path::new(&source.file_name);
    let found = solve::open_file(store(reader)?, &image, path).map_err(BuildError::ContextFile)?;
    let content = found.ok_or_else(|| missing(path))?;
    Ok(Text {
        bytes: limited(content, LARGEST_DOWNLOAD, &source.url)?,
        name: source.file_name.clone(),
        path: None,
    })
}

fn missing(path: &Path) -> BuildError {
    let none = std::io::Error::from(rustix::io::Errno::NOENT);
    BuildError::ReadDockerfile(fsio::Error::new("open", path, none))
}

fn missing_in(image: &BaseImage, path: &Path) -> BuildError {
    BuildError::NoDockerfile {
        path: path.to_owned(),
        context: image.name.clone(),
    }
}

/// All of a text that should not be large.
fn limited(mut reader: impl Read, limit: u64, name: &str) -> Result<Vec<u8>, BuildError> {
    let mut bytes = Vec::new();
    let failed = |source| BuildError::ReadDockerfile(fsio::Error::new("read", name, source));
    reader
        .by_ref()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(BuildError::LargeDockerfile {
            name: name.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}
