//! `WWW-Authenticate`: how a registry wants to be shown who is asking (RFC 9110, section 11; Docker's token specification).

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from a token server.
    Bearer {
        /// The token server's URL, not yet checked.
        realm: String,
        /// What to name to the token server.
        service: Option<String>,
        /// The scopes that the request would have needed.
        scopes: Vec<String>,
    },
    /// User and password.
    Basic,
}

impl Challenge {
    /// The challenge of an answer; Bearer if there are several. `None` if there is none that we can answer.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        let all: Vec<Self> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(parse)
            .collect();
        let bearer = all
            .iter()
            .find(|challenge| matches!(challenge, Self::Bearer { .. }));
        bearer.or(all.first()).cloned()
    }
}

/// All challenges of one header value that we can answer.
fn parse(value: &str) -> Vec<Challenge> {
    let mut challenges: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let word_end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        let next = after.trim_start_matches([' ', '\t']);
        if word.is_empty() {
            // The end, or something that is no challenge: what follows cannot be understood.
            break;
        }
        match next.strip_prefix('=') {
            Some(text) => {
                let (parameter, after) = parameter_value(text.trim_start_matches([' ', '\t']));
                if let Some((_, parameters)) = challenges.last_mut() {
                    parameters.insert(word.to_ascii_lowercase(), parameter);
                }
                rest = after;
            }
            None => {
                challenges.push((word.to_ascii_lowercase(), BTreeMap::new()));
                rest = after;
            }
        }
    }
    challenges
        .into_iter()
        .filter_map(|(scheme, mut parameters)| match scheme.as_str() {
            "bearer" => Some(Challenge::Bearer {
                realm: parameters.remove("realm")?,
                service: parameters.remove("service"),
                scopes: parameters
                    .remove("scope")
                    .unwrap_or_default()
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect(),
            }),
            "basic" => Some(Challenge::Basic),
            _ => None,
        })
        .collect()
}

/// A token or quoted string at the start of `text`, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        }
    }

    #[test]
    fn header_values() {
        for (value, expected) in [
            (
                r#"Bearer realm="https://a.io/token",service="a.io",scope="repository:x:pull,push""#,
                vec![bearer(
                    "https://a.io/token",
                    Some("a.io"),
                    &["repository:x:pull,push"],
                )],
            ),
            (
                r#"bearer  Realm = "https://a.io/\"t\"" , scope="a b""#,
                vec![bearer("https://a.io/\"t\"", None, &["a", "b"])],
            ),
            (r#"Basic realm="x, Bearer y""#, vec![Challenge::Basic]),
            (
                r#"Basic realm="x", Bearer realm=https://a.io/t"#,
                vec![Challenge::Basic, bearer("https://a.io/t", None, &[])],
            ),
            (r#"Negotiate, Basic"#, vec![Challenge::Basic]),
            (r#"Bearer service="no realm""#, vec![]),
            (
                r#"Bearer realm="unterminated"#,
                vec![bearer("unterminated", None, &[])],
            ),
            (r#"= "x""#, vec![]),
            ("Bearer realm=\"é\\", vec![bearer("é", None, &[])]),
            ("", vec![]),
        ] {
            assert_eq!(parse(value), expected, "{value}");
        }
    }

    #[test]
    fn bearer_is_preferred() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, "Basic realm=\"x\"".parse().unwrap());
        headers.append(
            WWW_AUTHENTICATE,
            "Bearer realm=\"https://r\"".parse().unwrap(),
        );
        assert_eq!(
            Challenge::from_headers(&headers),
            Some(bearer("https://r", None, &[]))
        );
        assert_eq!(Challenge::from_headers(&HeaderMap::new()), None);
    }
}
