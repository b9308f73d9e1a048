//! An ordinary HTTP client: it keeps a connection until that ends, and then looks up the address
//! anew.

use super::fleet::{Fleet, Part};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::{Client, Error, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rand::seq::IndexedRandom as _;
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often somebody is looked for.
const ATTEMPTS: usize = 3;

/// One person at one browser.
pub(crate) struct Browser {
    fleet: Arc<Fleet>,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Who is asked until the connection ends.
    at: Option<SocketAddr>,
    /// Requests that were made again on another connection.
    pub(crate) again: u64,
}

/// What came back.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Browser {
    pub(crate) fn new(fleet: Arc<Fleet>) -> Self {
        Self {
            fleet,
            client: Client::builder(TokioExecutor::new()).build_http(),
            at: None,
            again: 0,
        }
    }

    /// Asks. Where no connection comes about nobody has heard the request, so that it is made again;
    /// one that was sent, only if it may be made twice.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: &str,
    ) -> Result<Page> {
        let mut tried = Vec::new();
        loop {
            let gateways = self.fleet.addresses(Part::Gateway);
            // Of all addresses that a name has, those that nobody answered at come last.
            let fresh: Vec<_> = gateways.iter().filter(|at| !tried.contains(*at)).collect();
            let fresh = || fresh.choose(&mut rand::rng()).copied();
            let any = || {
                fresh()
                    .or_else(|| gateways.choose(&mut rand::rng()))
                    .copied()
            };
            let at = self.at.or_else(any).context("there is no gateway")?;
            tried.push(at);
            self.at = Some(at);
            let request = request(&method, at, path, headers, body)?;
            let broken = match tokio::time::timeout(PATIENCE, self.once(request)).await {
                Ok(Ok(page)) => return Ok(page),
                Ok(Err(broken)) => broken,
                Err(_) => bail!("no answer"),
            };
            self.at = None;
            ensure!(
                tried.len() < ATTEMPTS && (broken.unheard || method == Method::GET),
                broken.told
            );
            self.again += 1;
        }
    }

    async fn once(&mut self, request: Request<Full<Bytes>>) -> Result<Page, Broken> {
        let answer = self.client.request(request).await;
        let (head, body) = answer.map_err(|error| Broken::asking(&error))?.into_parts();
        let body = body.collect().await;
        let body = body.map_err(|error| Broken {
            told: format!("an answer broke off: {error}"),
            unheard: false,
        })?;
        let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
        if head.headers.get(CONNECTION).is_some_and(closes) {
            self.at = None;
        }
        Ok(Page {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

/// No answer.
struct Broken {
    told: String,
    /// There was no connection.
    unheard: bool,
}

impl Broken {
    fn asking(error: &Error) -> Self {
        let mut told = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            told += &format!(": {error}");
            cause = error.source();
        }
        Self {
            told,
            unheard: error.is_connect(),
        }
    }
}

fn request(
    method: &Method,
    at: SocketAddr,
    path: &str,
    headers: &[(&'static str, String)],
    body: &str,
) -> Result<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{at}{path}"));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    Ok(request.body(Full::from(body.to_owned()))?)
}
