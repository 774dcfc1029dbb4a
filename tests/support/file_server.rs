//! A web server inside the test process: files with validators, logins, redirects, and a log of what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::registry::http::{self, Answer, Request};

/// A running server. Stops when it is dropped.
#[derive(Debug)]
pub(crate) struct FileServer {
    host: String,
    state: Arc<Mutex<State>>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// A file that is served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served {
    pub(crate) body: Vec<u8>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    /// The `Authorization` header without which the answer is 401.
    pub(crate) authorization: Option<String>,
    /// Where to go instead.
    pub(crate) redirect: Option<String>,
    /// How many answers are 503 before the right one.
    pub(crate) trouble: usize,
    /// How many answers break off after the first byte.
    pub(crate) breaks: usize,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Served>,
    log: Vec<String>,
}

impl FileServer {
    /// Starts on a free port.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let respond = Arc::new(move |request: &Request| {
            shared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .respond(request)
        });
        runtime.spawn(http::serve(listener, respond));
        Self {
            host,
            state,
            runtime: Some(runtime),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The URL of a path, which starts with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    /// Serves a file at a path.
    pub(crate) fn serve(&self, path: &str, served: Served) {
        self.state().files.insert(path.to_owned(), served);
    }

    /// Serves some bytes at a path.
    pub(crate) fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.serve(
            path,
            Served {
                body: body.into(),
                ..Served::default()
            },
        );
    }

    /// Serves a folder, path by path.
    pub(crate) fn put_folder(&self, path: &str, folder: &std::path::Path) {
        for found in walkdir::WalkDir::new(folder) {
            let found = found.unwrap();
            if found.file_type().is_file() {
                let below = found.path().strip_prefix(folder).unwrap();
                let body = builder::fsio::read(found.path()).unwrap();
                self.put(&format!("{path}/{}", below.display()), body);
            }
        }
    }

    /// Answers everything below a path only to who shows this header.
    pub(crate) fn demand(&self, path: &str, authorization: &str) {
        for (name, served) in &mut self.state().files {
            if name.starts_with(path) {
                served.authorization = Some(authorization.to_owned());
            }
        }
    }

    /// What it was asked since the last time, as `/path status`.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl State {
    fn respond(&mut self, request: &Request) -> Answer {
        let answer = self.answer(request);
        self.log.push(format!("{} {}", request.path, answer.status));
        answer
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let Some(file) = self.files.get_mut(&request.path) else {
            return Answer::new(404);
        };
        if file.trouble > 0 {
            file.trouble -= 1;
            return Answer::new(503);
        }
        let header = |name: &str| request.headers.get(name);
        if file.authorization.is_some() && header("authorization") != file.authorization.as_ref() {
            return Answer::new(401);
        }
        if let Some(location) = &file.redirect {
            return Answer::new(302).header("Location", location);
        }
        let same = |condition: &str, value: &Option<String>| {
            value.is_some() && header(condition) == value.as_ref()
        };
        let unchanged = match header("if-none-match") {
            Some(_) => same("if-none-match", &file.etag),
            None => same("if-modified-since", &file.last_modified),
        };
        let mut answer = if unchanged {
            Answer::new(304)
        } else {
            Answer::new(200).body(file.body.clone())
        };
        for (name, value) in [("ETag", &file.etag), ("Last-Modified", &file.last_modified)] {
            if let Some(value) = value {
                answer = answer.header(name, value);
            }
        }
        if file.breaks > 0 {
            file.breaks -= 1;
            answer.delivery = http::Delivery::BreakAfter(1);
        }
        answer
    }
}
