//! Which header to send so that a request is allowed: none, a login or a token.

use std::sync::PoisonError;
use std::time::Instant;

use super::challenge::Challenge;
use super::endpoint::{Authorization, Contact, Endpoint};
use super::error::Failure;
use super::scope::Scopes;
use super::{Transport, bearer};
use crate::registry::CredentialsError;
use crate::registry::credentials::Login;

/// The header for these scopes, `None` if there is nothing to show. `also` are scopes that the registry says were missing.
pub(super) async fn authorize(
    transport: &Transport,
    endpoint: &Endpoint,
    contact: &Contact,
    scopes: &Scopes,
    also: &[String],
) -> Result<Option<Authorization>, Failure> {
    let Some(challenge) = contact.challenge() else {
        return Ok(None);
    };
    let mut shown = endpoint.shown.lock().await;
    let key = scopes.key();
    if let Some(known) = shown.get(&key)
        && known.good_until.is_none_or(|end| Instant::now() < end)
    {
        return Ok(Some(known.clone()));
    }
    let login = match find_login(transport, endpoint, scopes).await {
        Ok(login) => login,
        // It may turn out that no login is needed.
        Err(problem) => {
            let kept = endpoint.problem.lock();
            *kept.unwrap_or_else(PoisonError::into_inner) = Some(problem);
            None
        }
    };
    let refused = || Failure::protocol(&contact.base, "gave a token that cannot be sent");
    let with_credentials = login.is_some();
    let (header, good_until) = match (challenge, login) {
        (_, Some(Login::Registry(token))) => (bearer::bearer(&token).ok_or_else(refused)?, None),
        (Challenge::Basic, Some(Login::Basic { user, password })) => {
            (bearer::basic(&user, &password), None)
        }
        (Challenge::Basic, _) => return Ok(None),
        (Challenge::Bearer { realm, service, .. }, login) => {
            let realm = bearer::check_realm(transport, &contact.base, &realm)?;
            let (service, login) = (service.as_deref(), login.as_ref());
            let scopes = scopes.texts(also);
            let token = bearer::fetch(transport, &realm, service, &scopes, login).await?;
            let header = bearer::bearer(&token.secret).ok_or_else(refused)?;
            (header, Some(token.good_until))
        }
    };
    let authorization = Authorization {
        header,
        with_credentials,
        good_until,
    };
    shown.insert(key, authorization.clone());
    Ok(Some(authorization))
}

/// Forgets a header that was not accepted, unless another request has replaced it already.
pub(super) async fn forget(endpoint: &Endpoint, scopes: &Scopes, refused: &Authorization) {
    let mut shown = endpoint.shown.lock().await;
    let key = scopes.key();
    if shown
        .get(&key)
        .is_some_and(|known| known.header == refused.header)
    {
        shown.remove(&key);
    }
}

/// Looks for the login where it may block: a credential helper may ask a person for a password.
async fn find_login(
    transport: &Transport,
    endpoint: &Endpoint,
    scopes: &Scopes,
) -> Result<Option<Login>, CredentialsError> {
    let credentials = transport.settings.credentials.clone();
    let registry = endpoint.name().to_owned();
    let repository = scopes.repository().to_owned();
    let search = move || credentials.login(&registry, &repository);
    match tokio::task::spawn_blocking(search).await {
        Ok(found) => found,
        // Only a runtime that is being shut down does not run it.
        Err(_) => Ok(None),
    }
}
