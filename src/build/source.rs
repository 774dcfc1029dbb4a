//! What a build starts from: the main context, wherever it comes from, and the Dockerfile in it or beside it.
//!
//! A context that is no folder is fetched before anything is planned, since the Dockerfile may be in it. It is then a base like
//! others. What is in such a context stays as it is: ignore files are for folders.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{self, BuildError};
use super::request::{ContextSource, DockerfileSource, Request};
use super::{Sources, Tools, Vertices};
use crate::context::{IgnoreFile, LocalContext};
use crate::dockerfile::{self, Dockerfile};
use crate::fsio;
use crate::layer;
use crate::oci::{BaseImage, Platform};
use crate::plan::{BaseRequest, HttpSource, ImageSource, MainContext, Origin, ResolvedBases};
use crate::solve;
use crate::source::Diagnostic;
use crate::store::Scratch;

/// The most that a Dockerfile from outside a folder may have.
const LARGEST_DOCKERFILE: u64 = 64 << 20;
/// The most that a Dockerfile at a URL may have.
const LARGEST_DOWNLOAD: u64 = 2 << 20;

/// What a build starts from.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) dockerfile: Dockerfile,
    /// What the parser noticed.
    pub(super) remarks: Vec<Diagnostic>,
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
/// Either cannot be had; mistakes in the Dockerfile.
pub(super) fn open(
    request: &Request,
    tools: &Tools<'_>,
    sources: &mut Sources,
    vertices: &mut Vertices<'_>,
) -> Result<Start, BuildError> {
    let (context, text) = context(request, tools, vertices)?;
    let text = match text {
        Some(text) => text,
        None => read(request, tools, &context, vertices)?,
    };
    let file = sources.map.add(text.name.clone(), text.bytes)?;
    let parsed = dockerfile::parse(&file);
    let dockerfile = match parsed.dockerfile {
        Some(dockerfile) if !parsed.diagnostics.iter().any(Diagnostic::is_error) => dockerfile,
        _ => return Err(BuildError::Dockerfile(parsed.diagnostics)),
    };
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
    Ok(Start {
        dockerfile,
        remarks: parsed.diagnostics,
        context,
        folder,
        path,
        resolved,
        place: format!("{of}{shown}"),
    })
}

/// The main context; with the Dockerfile, where standard input is one.
fn context(
    request: &Request,
    tools: &Tools<'_>,
    vertices: &mut Vertices<'_>,
) -> Result<(Context, Option<Text>), BuildError> {
    let source = match &request.source.context {
        ContextSource::Directory(path) => {
            // A wrong context is said before a Dockerfile that is missing because of it.
            LocalContext::open(path, IgnoreFile::none())?;
            return Ok((Context::Folder(path.clone()), None));
        }
        ContextSource::Stdin => return standard_input(request, tools, vertices),
        ContextSource::Scratch => return Ok((Context::Empty, None)),
        ContextSource::Image(reference) => ImageSource::Reference(reference.clone()),
        ContextSource::Layout { path, tag, digest } => ImageSource::Layout {
            path: path.clone(),
            tag: tag.clone(),
            digest: *digest,
        },
        ContextSource::Tree(origin) => ImageSource::Tree(origin.clone()),
    };
    let platform = request.plan.platform.clone().unwrap_or_else(Platform::host);
    let base = BaseRequest::new(source, &platform, &Platform::host());
    let name = error::image_name(&base);
    let image = vertices.work(format!("[internal] load build context {name}"), |_, _| {
        tools
            .resolver
            .resolve(&base)
            .map_err(|source| BuildError::ContextSource { name, source })
    })?;
    Ok((Context::Base(Box::new(base), Arc::new(image)), None))
}

/// An archive, which is then the context, or a Dockerfile, which then has none.
fn standard_input(
    request: &Request,
    tools: &Tools<'_>,
    vertices: &mut Vertices<'_>,
) -> Result<(Context, Option<Text>), BuildError> {
    let scratch = tools.store.scratch()?;
    let path = spool(tools, &scratch)?;
    let unfit = |source| BuildError::StandardInput(Box::new(source));
    if layer::open_archive(&path).map_err(unfit)?.is_some() {
        let source = ImageSource::Tree(Origin::Archive(path));
        let base = BaseRequest::new(source, &Platform::host(), &Platform::host());
        let name = "from standard input".to_owned();
        let mut image =
            vertices.work(format!("[internal] load build context {name}"), |_, _| {
                tools
                    .resolver
                    .resolve(&base)
                    .map_err(|source| BuildError::ContextSource { name, source })
            })?;
        // The path is another one each time.
        "standard input".clone_into(&mut image.name);
        return Ok((Context::Base(Box::new(base), Arc::new(image)), None));
    }
    if request.source.dockerfile.is_some() {
        return Err(BuildError::AmbiguousDockerfile);
    }
    let text = Text {
        bytes: limited(fsio::open(&path)?, LARGEST_DOCKERFILE, "standard input")?,
        name: "Dockerfile".to_owned(),
        path: None,
    };
    Ok((Context::Empty, Some(text)))
}

/// Standard input as a file: it may be of any size, and has to be looked at twice.
fn spool(tools: &Tools<'_>, scratch: &Scratch) -> Result<PathBuf, BuildError> {
    let path = scratch.path().join("stdin");
    let mut file = fsio::create(&path)?;
    std::io::copy(&mut (tools.stdin)(), &mut file)
        .map_err(|source| fsio::Error::new("copy standard input to", &path, source))?;
    Ok(path)
}

/// The Dockerfile, from wherever it is asked for.
fn read(
    request: &Request,
    tools: &Tools<'_>,
    context: &Context,
    vertices: &mut Vertices<'_>,
) -> Result<Text, BuildError> {
    let label = |name: &str| format!("[internal] load build definition from {name}");
    match (&request.source.dockerfile, context) {
        (Some(DockerfileSource::Stdin), _) => vertices.work(label("-"), |_, _| {
            Ok(Text {
                bytes: limited((tools.stdin)(), LARGEST_DOCKERFILE, "standard input")?,
                name: "Dockerfile".to_owned(),
                path: None,
            })
        }),
        (Some(DockerfileSource::Url(source)), _) => {
            vertices.work(label(&source.file_name), |_, _| download(tools, source))
        }
        (Some(DockerfileSource::Path(path)), Context::Base(_, image)) if !path.is_absolute() => {
            vertices.work(label(&path.display().to_string()), |_, _| {
                in_base(tools, image, path)?.ok_or_else(|| missing(path))
            })
        }
        (None, Context::Base(_, image)) => vertices.work(label("Dockerfile"), |_, _| {
            let names = ["Dockerfile", "dockerfile"];
            let found = names
                .iter()
                .find_map(|name| in_base(tools, image, Path::new(name)).transpose());
            found.unwrap_or_else(|| Err(missing(Path::new("Dockerfile"))))
        }),
        (Some(DockerfileSource::Path(path)), _) => local(path, vertices),
        (None, Context::Folder(folder)) => local(&usual(folder), vertices),
        (None, Context::Empty) => Err(missing(Path::new("Dockerfile"))),
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
                bytes: fsio::read(path).map_err(BuildError::ReadDockerfile)?,
                name: name.clone(),
                path: Some(path.to_owned()),
            })
        },
    )
}

fn in_base(tools: &Tools<'_>, image: &BaseImage, path: &Path) -> Result<Option<Text>, BuildError> {
    let found = solve::open_file(&tools.store, image, path).map_err(BuildError::ContextFile)?;
    let Some(reader) = found else {
        return Ok(None);
    };
    let name = path.display().to_string();
    Ok(Some(Text {
        bytes: limited(reader, LARGEST_DOCKERFILE, &name)?,
        name,
        path: None,
    }))
}

fn download(tools: &Tools<'_>, source: &HttpSource) -> Result<Text, BuildError> {
    let origin = ImageSource::Tree(Origin::Http(source.clone()));
    let base = BaseRequest::new(origin, &Platform::host(), &Platform::host());
    let failed = |error| BuildError::ContextSource {
        name: source.url.clone(),
        source: error,
    };
    let image = tools.resolver.resolve(&base).map_err(failed)?;
    let path = Path::new(&source.file_name);
    let found = solve::open_file(&tools.store, &image, path).map_err(BuildError::ContextFile)?;
    let reader = found.ok_or_else(|| missing(path))?;
    Ok(Text {
        bytes: limited(reader, LARGEST_DOWNLOAD, &source.url)?,
        name: source.file_name.clone(),
        path: None,
    })
}

fn missing(path: &Path) -> BuildError {
    let none = std::io::Error::from(rustix::io::Errno::NOENT);
    BuildError::ReadDockerfile(fsio::Error::new("open", path, none))
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
