//! The distribution protocol over what is in memory, and a token server beside it.

use std::collections::{BTreeMap, BTreeSet};

use builder::oci::Digest;

use super::http::{Answer, Delivery, Request, decode};
use super::{Access, Effect, Fault, Logged};

/// All that the registry knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) blobs: BTreeMap<(String, Digest), Vec<u8>>,
    /// By repository, and tag or digest: media type and bytes.
    pub(super) manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    pub(super) uploads: BTreeMap<String, Vec<u8>>,
    pub(super) log: Vec<Logged>,
    pub(super) faults: Vec<Fault>,
    pub(super) access: Access,
    /// Where tokens are to be fetched, if not here.
    pub(super) realm: Option<String>,
    /// Tokens and the scopes they are good for.
    pub(super) tokens: BTreeMap<String, BTreeSet<String>>,
    pub(super) refuse_mounts: bool,
    pub(super) host: String,
    pub(super) counter: u64,
}

impl State {
    pub(super) fn respond(&mut self, request: &Request) -> Answer {
        let effect = self.effect(request);
        let mut answer = match &effect {
            Some(Effect::Status(status, headers, body)) => {
                let mut answer = Answer::new(*status).body(body.as_bytes());
                for (name, value) in headers {
                    answer = answer.header(name, value);
                }
                answer
            }
            Some(Effect::Redirect(to)) => Answer::new(307).header("Location", to),
            Some(Effect::IgnoreRange) => {
                let mut request = request.clone();
                request.headers.remove("range");
                self.answer(&request)
            }
            _ => self.answer(request),
        };
        match effect {
            Some(Effect::BreakAfter(count)) => answer.delivery = Delivery::BreakAfter(count),
            Some(Effect::StallAfter(count)) => answer.delivery = Delivery::StallAfter(count),
            Some(Effect::HangUp) => answer.delivery = Delivery::HangUp,
            Some(Effect::Chunked) => answer.delivery = Delivery::Chunked,
            Some(Effect::OtherBytes) => answer.body.iter_mut().for_each(|byte| *byte ^= 1),
            Some(Effect::Body(bytes)) => answer.body = bytes,
            Some(Effect::WithoutHeader(name)) => answer.headers.retain(|(n, _)| *n != name),
            _ => {}
        }
        self.log.push(Logged {
            method: request.method.clone(),
            target: request.target.clone(),
            headers: request.headers.clone(),
            body: request.body.len(),
            status: answer.status,
        });
        answer
    }

    /// Takes one use of the first fault that is meant for this request.
    fn effect(&mut self, request: &Request) -> Option<Effect> {
        let line = format!("{} {}", request.method, request.target);
        let fault = self
            .faults
            .iter_mut()
            .find(|fault| fault.times > 0 && line.contains(&fault.on))?;
        fault.times -= 1;
        Some(fault.effect.clone())
    }

    fn answer(&mut self, request: &Request) -> Answer {
        if request.path == "/token" {
            return self.token(request);
        }
        if let Some(blob) = request.path.strip_prefix("/elsewhere/") {
            return self.elsewhere(blob);
        }
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let Some(path) = request.path.strip_prefix("/v2/") else {
            return error(404, "NOT_FOUND", "no such path");
        };
        if path.is_empty() {
            return Answer::new(200).body("{}");
        }
        if let Some((repository, id)) = path.split_once("/blobs/uploads/") {
            return self.upload(request, repository, id);
        }
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            return self.blob(request, repository, digest);
        }
        if let Some((repository, name)) = path.split_once("/manifests/") {
            return self.manifest(request, repository, name);
        }
        error(404, "NOT_FOUND", "no such path")
    }

    /// Says no to those who may not.
    fn refusal(&self, request: &Request) -> Option<Answer> {
        let shown = request.headers.get("authorization").map(String::as_str);
        let repository = request
            .path
            .strip_prefix("/v2/")
            .and_then(|path| {
                path.split_once("/blobs/")
                    .or(path.split_once("/manifests/"))
            })
            .map(|(repository, _)| repository);
        let action = match request.method.as_str() {
            "GET" | "HEAD" => "pull",
            _ => "push",
        };
        match &self.access {
            Access::Open => None,
            Access::Basic { authorization } => (shown != Some(authorization)).then(|| {
                error(401, "UNAUTHORIZED", "authentication required")
                    .header("WWW-Authenticate", "Basic realm=\"fake\"")
            }),
            Access::Bearer { .. } => {
                let scopes = shown
                    .and_then(|shown| shown.strip_prefix("Bearer "))
                    .and_then(|token| self.tokens.get(token));
                let allowed = match (scopes, repository) {
                    (None, _) => false,
                    (Some(_), None) => true,
                    (Some(scopes), Some(repository)) => scopes.iter().any(|scope| {
                        let actions = scope.strip_prefix(&format!("repository:{repository}:"));
                        actions.is_some_and(|list| list.split(',').any(|one| one == action))
                    }),
                };
                let realm = match &self.realm {
                    Some(realm) => realm.clone(),
                    None => format!("http://{}/token", self.host),
                };
                let scope = repository.map(|repository| {
                    let actions = if action == "push" {
                        "pull,push"
                    } else {
                        "pull"
                    };
                    format!(",scope=\"repository:{repository}:{actions}\"")
                });
                let scope = scope.unwrap_or_default();
                (!allowed).then(|| {
                    error(401, "UNAUTHORIZED", "authentication required").header(
                        "WWW-Authenticate",
                        format!("Bearer realm=\"{realm}\",service=\"fake\"{scope}"),
                    )
                })
            }
        }
    }

    /// Grants what is asked for to those who may have it: with the right login everything, without any only pulls, if at all.
    fn token(&mut self, request: &Request) -> Answer {
        let Access::Bearer {
            authorization,
            refresh_token,
            anonymous_pull,
        } = &self.access
        else {
            return error(404, "NOT_FOUND", "no such path");
        };
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let field = |text: &str, name: &str| -> Vec<String> {
            let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| decode(value))
                .collect()
        };
        let query = request
            .target
            .split_once('?')
            .map_or("", |(_, query)| query);
        let (shown, wanted) = if request.method == "POST" {
            let token = field(&form, "refresh_token");
            (
                token.contains(refresh_token).then_some(true),
                field(&form, "scope"),
            )
        } else {
            let header = request.headers.get("authorization");
            (
                header.map(|header| header == authorization),
                field(query, "scope"),
            )
        };
        let known = match shown {
            Some(true) => true,
            Some(false) => return Answer::new(401).body(r#"{"details":"incorrect login"}"#),
            None if request.method == "GET" && *anonymous_pull => false,
            None => return Answer::new(401).body(r#"{"details":"login required"}"#),
        };
        let scopes = wanted
            .iter()
            .flat_map(|text| text.split(' '))
            .map(|scope| {
                if known {
                    scope.to_owned()
                } else {
                    scope.replace(",push", "")
                }
            })
            .collect();
        self.counter += 1;
        let token = format!("token-{}", self.counter);
        self.tokens.insert(token.clone(), scopes);
        Answer::new(200).body(format!(r#"{{"token":"{token}","expires_in":300}}"#))
    }

    /// The host behind redirects: every blob by its digest alone, with no questions asked.
    fn elsewhere(&self, digest: &str) -> Answer {
        let found = self
            .blobs
            .iter()
            .find(|((_, known), _)| known.to_string() == digest);
        match found {
            Some((_, bytes)) => Answer::new(200).body(bytes.clone()),
            None => error(404, "BLOB_UNKNOWN", "blob unknown"),
        }
    }

    fn blob(&self, request: &Request, repository: &str, digest: &str) -> Answer {
        let found = digest
            .parse()
            .ok()
            .and_then(|digest| self.blobs.get(&(repository.to_owned(), digest)));
        let Some(bytes) = found else {
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let start = request
            .headers
            .get("range")
            .and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse()
                    .ok()
            })
            .filter(|&start: &usize| start < bytes.len());
        let answer = match start {
            Some(start) => Answer::new(206).body(&bytes[start..]).header(
                "Content-Range",
                format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()),
            ),
            None => Answer::new(200).body(bytes.clone()),
        };
        answer.header("Docker-Content-Digest", digest)
    }

    fn manifest(&mut self, request: &Request, repository: &str, name: &str) -> Answer {
        if request.method == "PUT" {
            let media_type = request.headers.get("content-type").cloned();
            let media_type = media_type.unwrap_or_default();
            let digest = self.put_manifest(repository, name, &media_type, &request.body);
            return Answer::new(201).header("Docker-Content-Digest", digest);
        }
        let key = (repository.to_owned(), name.to_owned());
        match self.manifests.get(&key) {
            Some((media_type, bytes)) => Answer::new(200)
                .header("Content-Type", media_type)
                .header("Docker-Content-Digest", Digest::of(bytes))
                .body(bytes.clone()),
            None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        let digest = Digest::of(bytes);
        for name in [name.to_owned(), digest.to_string()] {
            let value = (media_type.to_owned(), bytes.to_vec());
            self.manifests.insert((repository.to_owned(), name), value);
        }
        digest
    }

    fn upload(&mut self, request: &Request, repository: &str, id: &str) -> Answer {
        let accepted = |status: u16, id: &str| {
            Answer::new(status).header(
                "Location",
                format!("/v2/{repository}/blobs/uploads/{id}?_state=secret-state"),
            )
        };
        match request.method.as_str() {
            "POST" => {
                if let (Some(digest), Some(from)) =
                    (request.query.get("mount"), request.query.get("from"))
                    && let Ok(digest) = digest.parse::<Digest>()
                    && let Some(bytes) = self.blobs.get(&(from.clone(), digest)).cloned()
                    && !self.refuse_mounts
                {
                    self.blobs.insert((repository.to_owned(), digest), bytes);
                    return Answer::new(201)
                        .header("Location", format!("/v2/{repository}/blobs/{digest}"));
                }
                self.counter += 1;
                let id = format!("upload-{}", self.counter);
                self.uploads.insert(id.clone(), Vec::new());
                accepted(202, &id)
            }
            "PATCH" | "PUT" => {
                if request.query.get("_state").map(String::as_str) != Some("secret-state") {
                    return error(400, "BLOB_UPLOAD_INVALID", "the state is missing");
                }
                let Some(upload) = self.uploads.get_mut(id) else {
                    return error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown");
                };
                if let Some(range) = request.headers.get("content-range")
                    && range.split('-').next() != Some(upload.len().to_string().as_str())
                {
                    return error(416, "BLOB_UPLOAD_INVALID", "out of order");
                }
                upload.extend_from_slice(&request.body);
                if request.method == "PATCH" {
                    return accepted(202, id);
                }
                let bytes = self.uploads.remove(id).unwrap_or_default();
                let digest = Digest::of(&bytes);
                if request.query.get("digest") != Some(&digest.to_string()) {
                    return error(400, "DIGEST_INVALID", "digest does not match");
                }
                self.blobs.insert((repository.to_owned(), digest), bytes);
                Answer::new(201).header("Docker-Content-Digest", digest)
            }
            _ => error(405, "UNSUPPORTED", "method not allowed"),
        }
    }
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    Answer::new(status).body(body)
}
