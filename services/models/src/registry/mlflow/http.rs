//! Requests to one server and no other, each bounded in time and in size.
//!
//! MLflow is not trusted: nothing it answers makes this process ask elsewhere, wait longer, or hold more than it said it would.

use super::wire::Done;
use crate::registry::{Options, RegistryError, error::shown, open::wrong_url};
use bytes::{Bytes, BytesMut};
use percent_encoding::percent_decode_str;
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
    redirect::Policy,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{error::Error as _, time::Duration};
use url::Url;

/// Largest answer that is no file: a page of rows with all that may be in them.
const LARGEST_ANSWER: u64 = 16 << 20;
const CONNECT: Duration = Duration::from_secs(2);
/// Shorter than servers keep a silent connection, so that they rarely close one under a request.
const IDLE: Duration = Duration::from_secs(3);
/// Where the registry is, below a server's address.
const REGISTRY: &str = "api/2.0/mlflow/";
/// Where the server serves artifacts itself.
const ARTIFACTS: &str = "api/2.0/mlflow-artifacts/artifacts";

/// One server.
pub struct Http {
    client: Client,
    /// Ends in `/`.
    base: Url,
    login: Option<Login>,
    timeout: Duration,
    transfer_timeout: Duration,
}

/// Who asks.
enum Login {
    /// A user and a password.
    Basic(String, String),
    /// A token.
    Bearer(String),
}

/// What MLflow says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    error_code: String,
    #[serde(default)]
    message: String,
}

/// What was answered, read to its end.
pub struct Answer {
    status: StatusCode,
    is_json: bool,
    kind: String,
    body: Bytes,
}

impl Login {
    /// `user:password@` or `:token@`.
    fn of(base: &Url) -> Result<Option<Self>, RegistryError> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (decoded(base.username()), base.password().map(decoded));
        match password {
            None if user.is_empty() => Ok(None),
            // What stands before the `@` alone is shown by whoever hides passwords.
            None => Err(wrong_url("an MLflow URL with a user and no password, or a token that is not written `:TOKEN@`,")),
            Some(token) if user.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(Self::Bearer(token))),
            Some(_) if user.is_empty() => Err(wrong_url("an MLflow URL with a token that has blanks or control characters")),
            Some(password) => Ok(Some(Self::Basic(user, password))),
        }
    }
}

impl Http {
    /// What follows the scheme and its colon in a URL.
    pub fn new(scheme: &str, rest: &str, options: &Options) -> Result<Self, RegistryError> {
        let scheme = scheme.trim_start_matches("mlflow+");
        if rest.strip_prefix("//").is_none_or(|host| host.is_empty() || host.starts_with(['/', '\\'])) {
            return Err(wrong_url("an MLflow URL without `//` and a host"));
        }
        let mut base = Url::parse(&format!("{scheme}:{rest}")).map_err(|_| wrong_url("this MLflow URL"))?;
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong_url("an MLflow URL with a query or a fragment"));
        }
        let login = Login::of(&base)?;
        let cleared = base.set_username("").and_then(|()| base.set_password(None));
        cleared.map_err(|()| wrong_url("an MLflow URL without a host"))?;
        base.set_path(&format!("{}/", base.path().trim_end_matches('/')));
        let client = Client::builder()
            .user_agent(concat!("loadline/", env!("CARGO_PKG_VERSION")))
            // The server is the one that was configured, whatever it or the environment says.
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .https_only(scheme == "https")
            // Reading the system's certificates costs more than many a request.
            .tls_built_in_root_certs(scheme == "https")
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| RegistryError::Misconfigured(format!("an HTTP client: {error}")))?;
        Ok(Self { client, base, login, timeout: options.timeout, transfer_timeout: options.transfer_timeout })
    }

    /// Asks the registry.
    pub async fn get<T: DeserializeOwned>(&self, method: &str, query: &[(&str, &str)]) -> Result<T, RegistryError> {
        self.get_within(self.timeout, method, query).await
    }

    /// The same, in a time of its own.
    pub async fn get_within<T: DeserializeOwned>(
        &self,
        limit: Duration,
        method: &str,
        query: &[(&str, &str)],
    ) -> Result<T, RegistryError> {
        within(limit, self.page(method, query)).await?.json()
    }

    /// Asks the registry for a page of rows, to be read with its size.
    pub async fn page(&self, method: &str, query: &[(&str, &str)]) -> Result<Answer, RegistryError> {
        let mut url = self.url(&[REGISTRY, method].concat())?;
        url.query_pairs_mut().extend_pairs(query);
        self.ask(self.request(Method::GET, url), self.timeout).await
    }

    /// Tells the registry something.
    pub async fn send<T: DeserializeOwned>(&self, verb: Method, method: &str, body: &impl Serialize) -> Result<T, RegistryError> {
        let body = serde_json::to_vec(body).map_err(|error| RegistryError::Broken(format!("a request: {error}")))?;
        let request = self.request(verb, self.url(&[REGISTRY, method].concat())?);
        self.ask(request.header(CONTENT_TYPE, "application/json").body(body), self.timeout).await?.json()
    }

    /// Puts a file under a path of the server's artifacts.
    pub async fn upload(&self, path: &str, file: Bytes) -> Result<(), RegistryError> {
        let request = self.request(Method::PUT, self.url(&format!("{ARTIFACTS}/{path}"))?);
        let request = request.header(CONTENT_TYPE, "application/octet-stream").body(file);
        let answer = self.ask(request, self.transfer_timeout).await?;
        // Some versions say nothing at all, where others say that there is nothing to say.
        if answer.status == StatusCode::OK && answer.body.is_empty() { Ok(()) } else { answer.json::<Done>().map(drop) }
    }

    /// A file under a path of the server's artifacts, not larger than `limit`.
    pub async fn file(&self, path: &str, limit: u64) -> Result<Bytes, RegistryError> {
        let request = self.request(Method::GET, self.url(&format!("{ARTIFACTS}/{path}"))?);
        let whole = async {
            let response = request.send().await.map_err(failed)?;
            if response.status() == StatusCode::OK && !kind(&response).starts_with("text/html") {
                return body(response, limit, "the file").await;
            }
            // Never a file: what it is stands in its first bytes.
            let refused = Answer::read(response).await?;
            Err(refused.json::<serde_json::Value>().err().unwrap_or_else(|| refused.garbage()))
        };
        within(self.transfer_timeout, whole).await
    }

    /// What lies in a folder of the server's artifacts, as it answers that.
    pub async fn folder<T: DeserializeOwned>(&self, path: &str) -> Result<T, RegistryError> {
        let mut url = self.url(ARTIFACTS)?;
        url.query_pairs_mut().append_pair("path", path);
        self.ask(self.request(Method::GET, url), self.timeout).await?.json()
    }

    fn url(&self, path: &str) -> Result<Url, RegistryError> {
        let url = self.base.join(path).map_err(|error| RegistryError::Broken(format!("a path of the registry: {error}")))?;
        // Nothing in a path can lead to another host or above the base: names were checked. Looked at all the same.
        if url.origin() == self.base.origin() && url.path().starts_with(self.base.path()) {
            return Ok(url);
        }
        Err(RegistryError::Broken("a path of the registry leads elsewhere".to_owned()))
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.login {
            Some(Login::Basic(user, password)) => request.basic_auth(user, Some(password)),
            Some(Login::Bearer(token)) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn ask(&self, request: RequestBuilder, limit: Duration) -> Result<Answer, RegistryError> {
        within(limit, async { Answer::read(request.send().await.map_err(failed)?).await }).await
    }
}

impl Answer {
    async fn read(response: Response) -> Result<Self, RegistryError> {
        let status = response.status();
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).map_or(&b"nowhere"[..], |to| to.as_bytes());
            return Err(RegistryError::Garbage(format!("{status}, a redirect to `{}`, which is not followed", shown(to))));
        }
        let kind = kind(&response);
        let is_json = kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json");
        let body = body(response, LARGEST_ANSWER, "an answer").await?;
        Ok(Self { status, is_json, kind, body })
    }

    pub fn bytes(&self) -> u64 {
        self.body.len() as u64
    }

    /// What was asked for, or why it was not answered.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, RegistryError> {
        if self.status.is_server_error() || matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
            return Err(RegistryError::Unavailable(format!("{}: `{}`", self.status, shown(&self.body))));
        }
        if matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(RegistryError::Refused(format!(
                "MLflow answers {} `{}`: put a user and a password, or a token, that it knows into the registry's URL, or its host \
                 into MLflow's --allowed-hosts",
                self.status,
                shown(&self.body)
            )));
        }
        if !self.is_json {
            return Err(self.garbage());
        }
        if self.status == StatusCode::OK {
            return serde_json::from_slice(&self.body).map_err(|_| self.garbage());
        }
        let refusal: Refusal = serde_json::from_slice(&self.body).map_err(|_| self.garbage())?;
        Err(refusal.into())
    }

    fn garbage(&self) -> RegistryError {
        let kind = if self.kind.is_empty() { "of no type".to_owned() } else { shown(self.kind.as_bytes()) };
        RegistryError::Garbage(format!("{} {kind}: `{}`", self.status, shown(&self.body)))
    }
}

impl From<Refusal> for RegistryError {
    fn from(refusal: Refusal) -> Self {
        let said = shown(refusal.message.as_bytes());
        match refusal.error_code.as_str() {
            "RESOURCE_DOES_NOT_EXIST" | "NOT_FOUND" => Self::NotFound(format!("such thing: MLflow says `{said}`")),
            "INTERNAL_ERROR" | "TEMPORARILY_UNAVAILABLE" | "REQUEST_LIMIT_EXCEEDED" => {
                Self::Unavailable(format!("MLflow says `{said}`"))
            }
            code => Self::Refused(format!("MLflow refuses with {}: `{said}`", shown(code.as_bytes()))),
        }
    }
}

/// All of a body, unless it has more bytes than `limit`: found before it is read where it is announced, and else as soon as the
/// limit is passed.
async fn body(mut response: Response, limit: u64, what: &str) -> Result<Bytes, RegistryError> {
    let too_large = |size: String| RegistryError::TooLarge { what: format!("{what} has {size} bytes"), limit };
    if let Some(announced) = response.content_length().filter(|announced| *announced > limit) {
        return Err(too_large(announced.to_string()));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() as u64 + chunk.len() as u64 > limit {
            return Err(too_large(format!("more than {limit}")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn kind(response: &Response) -> String {
    let kind = response.headers().get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    String::from_utf8_lossy(kind).to_ascii_lowercase()
}

/// An answer, unless it takes longer.
pub async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, RegistryError>>) -> Result<T, RegistryError> {
    let late = |_| RegistryError::Unavailable(format!("MLflow gave no answer within {} s", limit.as_secs_f64()));
    tokio::time::timeout(limit, answer).await.map_err(late)?
}

/// No answer, or not all of it. The address is the operator's to know, and may hold a login.
fn failed(error: reqwest::Error) -> RegistryError {
    let error = error.without_url();
    let mut why = error.to_string();
    let (mut source, mut is_no_http) = (error.source(), false);
    while let Some(cause) = source {
        // What speaks something else is no registry that is down.
        is_no_http |= cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    if is_no_http { RegistryError::Garbage(shown(why.as_bytes())) } else { RegistryError::Unavailable(why) }
}
