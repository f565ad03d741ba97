//! The connection, and what its server cannot promise.

use crate::LogError;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;
use std::time::Duration;

/// A half-open connection is noticed after three of these.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Longest wait for one server to greet us.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest pause between attempts to reconnect.
const RECONNECT: Duration = Duration::from_secs(1);
/// Messages that wait for one reader; more than its pull requests ask for.
pub(super) const INBOX_MESSAGES: usize = 65_536;

/// Connects once; from then on the client reconnects by itself, for ever. Also for who has other streams on these servers than a log.
///
/// # Errors
/// [`LogError::Unavailable`] when none can be reached now, [`LogError::Misconfigured`] when they refuse us; neither prints credentials.
pub async fn connect(url: &str) -> Result<Client, LogError> {
    let servers: Vec<ServerAddr> = url
        .split(',')
        .map(|server| server.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|_| LogError::Misconfigured("not a list of servers; use nats://host:4222,nats://other:4222".into()))?;
    let names: Vec<String> = servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
    let options = ConnectOptions::new()
        .name("loadline")
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT)
        .request_timeout(Some(super::CALL))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| RECONNECT.min(Duration::from_millis(1 << attempt.min(10))))
        .subscription_capacity(INBOX_MESSAGES);
    authenticated(options, &servers)?.connect(servers).await.map_err(|error| {
        let text = format!("{}: {error}", names.join(", "));
        match error.kind() {
            ConnectErrorKind::ServerParse
            | ConnectErrorKind::Authentication
            | ConnectErrorKind::AuthorizationViolation
            | ConnectErrorKind::Tls => LogError::Misconfigured(text),
            _ => LogError::Unavailable(text),
        }
    })
}

/// With the first credentials among the servers' URLs, which the client itself does not look at.
fn authenticated(options: ConnectOptions, servers: &[ServerAddr]) -> Result<ConnectOptions, LogError> {
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(LogError::Misconfigured("the credentials in the URL are not percent-encoded UTF-8".into())),
    };
    let Some((server, user)) = servers.iter().find_map(|server| Some((server, server.username()?))) else { return Ok(options) };
    Ok(match server.password() {
        Some(password) => options.user_and_password(decoded(user)?, decoded(password)?),
        None => options.token(decoded(user)?),
    })
}

/// What a server of this version cannot promise.
pub fn caveats(version: &str) -> Vec<String> {
    let mut numbers = version.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let caveat = if release < (2, 10) {
        format!(
            "nats-server {version} writes to disk at most every 2 minutes and cannot be told otherwise: a power cut may lose \
             messages it has acknowledged (a crash of the server alone does not); use 2.10 or later with `sync_interval: always`"
        )
    } else {
        format!(
            "nats-server {version} keeps acknowledged messages through a power cut only with `sync_interval: always` in the \
             `jetstream` block of its configuration, which clients cannot see; without it up to 2 minutes may be lost"
        )
    };
    vec![caveat]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_before_2_10_is_told_from_a_later_one() {
        assert!(caveats("2.9.10")[0].contains("cannot be told otherwise"));
        for later in ["2.10.0", "2.15.1", "2.15.0-preview.1", "3.0.0"] {
            assert!(caveats(later)[0].contains("with `sync_interval: always` in"), "{later}");
        }
    }
}
