//! Who may look into this process and change what it has cached: the one check of the admin port.
//!
//! | what is set | who may |
//! |---|---|
//! | certificates are checked | whom `--admin-callers` names, as far as the [`Policy`] goes |
//! | a token | whoever shows it, with or without a certificate |
//! | neither, on loopback | everybody |
//! | neither, beyond loopback | everybody, but only what changes nothing |
//!
//! `/live`, `/ready` and `/metrics` are not asked about: probes and scrapers have neither.
//!
//! Loopback is everybody's, also the browser's: a page of any site can have it send requests there. So
//! gRPC is answered only where it is asked as gRPC clients ask, which no page can.

use crate::config::{Name, Operators};
use crate::connection::Peer;
use crate::policy::Policy;
use crate::status::Problem;
use crate::tasks::Tasks;
use crate::tls::Tls;
use crate::token::{self, Token};
use crate::{callers, seldom};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version};
use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// How often the token is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why there is no access.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] token::Error),
    /// Callers are named whom nobody can know.
    #[error(
        "{setting} names callers, who are known by their certificates: that needs --tls-cert, \
         --tls-key and --tls-ca"
    )]
    Unknowable {
        /// The setting that names them.
        setting: &'static str,
    },
}

/// Who may. Clones are of the same process.
#[derive(Clone, Debug)]
pub struct Access {
    rules: Arc<Rules>,
    /// Only this machine can reach the port.
    local: bool,
}

#[derive(Debug)]
struct Rules {
    token: Option<Token>,
    /// Where certificates are checked.
    callers: Option<BTreeSet<Name>>,
    policy: Policy,
}

impl Access {
    /// As the settings say. Reads the token.
    pub fn open(operators: &Operators, tls: Option<&Tls>, policy: Policy) -> Result<Self, Error> {
        let known = tls.is_some_and(Tls::knows_callers);
        check_known(
            "--admin-callers (LARDER_ADMIN_CALLERS)",
            &operators.admin_callers,
            tls,
        )?;
        let token = operators
            .admin_token_file
            .as_deref()
            .map(Token::open)
            .transpose()?;
        let rules = Rules {
            token,
            callers: known.then(|| operators.admin_callers.iter().cloned().collect()),
            policy,
        };
        Ok(Self {
            rules: Arc::new(rules),
            local: false,
        })
    }

    /// The same for a port that only this machine can reach, or not.
    pub(crate) fn of_port(mut self, local: bool) -> Self {
        self.local = local;
        self
    }

    /// Whether anything is set by which somebody can be told from anybody else: a token, or
    /// certificates. Without, all who reach the port are alike, whatever they show.
    pub fn knows_askers(&self) -> bool {
        self.rules.token.is_some() || self.rules.callers.is_some()
    }

    /// Whether whoever makes this request may call the gRPC method at this path, or do over HTTP
    /// what that does. If not, what he is told: UNAUTHENTICATED where nobody knows who it is,
    /// PERMISSION_DENIED where that is known and does not suffice.
    pub fn check(&self, request: &Parts, method: &str) -> Result<(), Status> {
        self.judge(&request.extensions, &request.headers, method)
    }

    fn judge(&self, about: &Extensions, headers: &HeaderMap, method: &str) -> Result<(), Status> {
        let rules = &*self.rules;
        if let (Some(token), Some(shown)) = (&rules.token, headers.get(AUTHORIZATION)) {
            let shown = shown.as_bytes();
            let shown = shown.split_at_checked(SCHEME.len());
            let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
            return match shown.is_some_and(|(_, shown)| token.is(shown.trim_ascii())) {
                true => Ok(()),
                // A certificate does not make a wrong token right.
                false => Err(unauthenticated("TOKEN_WRONG", "the token is wrong")),
            };
        }
        let peer = about.get::<Peer>();
        let identity = peer.and_then(|peer| peer.identity.as_deref());
        match (&rules.callers, identity) {
            (Some(callers), Some(identity)) => {
                let name = identity.name().ok_or_else(callers::unknown)?;
                match callers.contains(name) && rules.policy.permits(name.as_str(), method) {
                    true => Ok(()),
                    false => Err(callers::refused(name, method)),
                }
            }
            (None, _) if rules.token.is_none() => self.nothing_set(method),
            _ => {
                let message = "this needs a token or a certificate";
                Err(unauthenticated("CREDENTIALS_MISSING", message))
            }
        }
    }

    /// Nothing is set by which anybody could be told from anybody else.
    fn nothing_set(&self, method: &str) -> Result<(), Status> {
        if self.local || !self.rules.policy.changes(method) {
            return Ok(());
        }
        let message = "whoever can reach this port could change what is cached: it needs \
            --admin-token-file or certificates";
        Err(Problem::new(Code::PermissionDenied, "ADMIN_UNGUARDED", message).into())
    }

    /// Reads the token again when it changes, until the tasks are closed.
    pub(crate) fn watch(&self, tasks: &Tasks) {
        let Some(token) = self.rules.token.clone() else {
            return;
        };
        let stopping = tasks.stopping().clone();
        tasks.spawn("admin token", async move {
            let pause = || tokio::time::sleep(LOOK_EVERY);
            let mut failed = false;
            while stopping.run_until_cancelled(pause()).await.is_some() {
                match token.look() {
                    Ok(changed) => {
                        failed = false;
                        if changed {
                            tracing::info!("the admin token has changed");
                        }
                    }
                    Err(error) if !failed => {
                        failed = true;
                        tracing::warn!(
                            error = %error,
                            cause = error.source().map(tracing::field::display),
                            "the admin token cannot be read again; the one from before is used on"
                        );
                    }
                    Err(_) => {}
                }
            }
        });
    }

    /// Turns away whoever may not, as a layer of gRPC routes.
    pub(crate) async fn guard(self, request: Request, next: Next) -> Response {
        static SAID: seldom::Seldom = seldom::Seldom::new();
        let path = request.uri().path();
        if let Err(refusal) = asked_as_grpc(&request) {
            if SAID.is_due() {
                let status = refusal.as_u16();
                tracing::warn!(
                    rpc.method = path,
                    http.response.status_code = status,
                    "what is no gRPC call was refused at the admin port"
                );
            }
            return refusal.into_response();
        }
        match self.judge(request.extensions(), request.headers(), path) {
            Ok(()) => next.run(request).await,
            Err(status) => {
                if SAID.is_due() {
                    let (path, why) = (path, status.message());
                    tracing::warn!(rpc.method = path, error = why, "an admin call was refused");
                }
                status.into_http()
            }
        }
    }
}

const SCHEME: &[u8] = b"Bearer ";

/// Whether a gRPC client can have sent this; if not, how it is refused. Browsers speak no HTTP/2
/// without TLS, and pages cannot send this content type to another site, nor leave these headers out.
fn asked_as_grpc(request: &Request) -> Result<(), StatusCode> {
    let headers = request.headers();
    if request.version() < Version::HTTP_2
        || headers.contains_key(ORIGIN)
        || headers.contains_key("sec-fetch-site")
    {
        return Err(StatusCode::FORBIDDEN);
    }
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    match kind.and_then(|kind| kind.strip_prefix(b"application/grpc")) {
        Some([] | [b'+' | b';', ..]) => Ok(()),
        _ => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    }
}

fn unauthenticated(reason: &'static str, message: &str) -> Status {
    Problem::new(Code::Unauthenticated, reason, message).into()
}

/// Fails where callers are named and no certificate of theirs is looked at: they would be let in
/// by nobody, and everybody else unasked.
pub fn check_known(setting: &'static str, named: &[Name], tls: Option<&Tls>) -> Result<(), Error> {
    match named.is_empty() || tls.is_some_and(Tls::knows_callers) {
        true => Ok(()),
        false => Err(Error::Unknowable { setting }),
    }
}
