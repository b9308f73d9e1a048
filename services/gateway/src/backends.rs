//! The way to the services: several replicas of each, every call with a bound.
//!
//! A read that found nobody is asked once more, which is then another replica's turn. A write
//! never is: nobody knows whether the first one was made.

use clap::Args;
use futures_util::future::join_all;
use larder_proto::cache::v1::cache_service_client::CacheServiceClient;
use larder_proto::comments::v1::comment_service_client::CommentServiceClient;
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::profiles::v1::profile_service_client::ProfileServiceClient;
use larder_proto::reports::v1::report_service_client::ReportServiceClient;
use larder_runtime::client::{self, Client, Limits, may_try_again};
use larder_runtime::tls::Tls;
use larder_runtime::token::Token;
use larder_survey::{Failure, Replica};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// How long a call may take. The request's own deadline makes it shorter.
const CALL: Duration = Duration::from_secs(3);
/// The same where something is computed.
const REPORT: Duration = Duration::from_secs(60);

/// Where the services are: `http://host:port` of each replica, separated by commas.
#[derive(Args, Clone, Debug)]
pub struct Addresses {
    /// Where the profiles are: `http://host:port` of each replica, separated by commas.
    #[arg(
        long,
        env = "PROFILES_ADDR",
        value_name = "URLS",
        default_value = "http://127.0.0.1:7101,http://127.0.0.1:7102"
    )]
    pub profiles: String,
    /// Their admin ports, which hooks and the console need, written in the same way.
    #[arg(
        long,
        env = "PROFILES_ADMIN_ADDR",
        value_name = "URLS",
        default_value = "http://127.0.0.1:9101,http://127.0.0.1:9102"
    )]
    pub profiles_admin: String,
    /// Where the products are, written in the same way.
    #[arg(
        long,
        env = "PRODUCTS_ADDR",
        value_name = "URLS",
        default_value = "http://127.0.0.1:7201,http://127.0.0.1:7202"
    )]
    pub products: String,
    /// Their admin ports, which hooks and the console need.
    #[arg(
        long,
        env = "PRODUCTS_ADMIN_ADDR",
        value_name = "URLS",
        default_value = "http://127.0.0.1:9201,http://127.0.0.1:9202"
    )]
    pub products_admin: String,
    /// Where the comments are, written in the same way.
    #[arg(
        long,
        env = "COMMENTS_ADDR",
        value_name = "URLS",
        default_value = "http://127.0.0.1:7301,http://127.0.0.1:7302"
    )]
    pub comments: String,
    /// Their admin ports, which hooks and the console need.
    #[arg(
        long,
        env = "COMMENTS_ADMIN_ADDR",
        value_name = "URLS",
        default_value = "http://127.0.0.1:9301,http://127.0.0.1:9302"
    )]
    pub comments_admin: String,
    /// Where the reports are, written in the same way.
    #[arg(
        long,
        env = "REPORTS_ADDR",
        value_name = "URLS",
        default_value = "http://127.0.0.1:7401,http://127.0.0.1:7402"
    )]
    pub reports: String,
    /// Their admin ports, which hooks and the console need.
    #[arg(
        long,
        env = "REPORTS_ADMIN_ADDR",
        value_name = "URLS",
        default_value = "http://127.0.0.1:9401,http://127.0.0.1:9402"
    )]
    pub reports_admin: String,
}

/// A service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Backend {
    /// Who people are.
    Profiles,
    /// What is for sale.
    Products,
    /// What people say about it.
    Comments,
    /// What was sold.
    Reports,
}

/// The names of the services, in the order of [`Backend`].
const SERVICES: [&str; 4] = ["profiles", "products", "comments", "reports"];

/// The way to all services. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Backends {
    /// Who people are.
    pub profiles: ProfileServiceClient<Client>,
    /// What is for sale.
    pub products: ProductServiceClient<Client>,
    /// What people say about it.
    pub comments: CommentServiceClient<Client>,
    /// What was sold.
    pub reports: ReportServiceClient<Client>,
    clients: [Client; 4],
    caches: [Client; 4],
}

impl Backends {
    /// The way to these. They are connected when they are first needed. Must be called on a tokio
    /// runtime.
    pub fn new(addresses: &Addresses) -> Result<Self, client::Error> {
        Self::over(addresses, None, None)
    }

    /// The same, where addresses may be https. The token opens their caches to hooks where nobody is
    /// known by a certificate.
    pub fn over(
        addresses: &Addresses,
        tls: Option<&Tls>,
        token: Option<Token>,
    ) -> Result<Self, client::Error> {
        let way = |setting, addresses: &str, call| {
            let limits = Limits {
                call,
                ..Limits::default()
            };
            Client::over(setting, addresses, limits, tls)
        };
        let profiles = way("--profiles (PROFILES_ADDR)", &addresses.profiles, CALL)?;
        let products = way("--products (PRODUCTS_ADDR)", &addresses.products, CALL)?;
        let comments = way("--comments (COMMENTS_ADDR)", &addresses.comments, CALL)?;
        let reports = way("--reports (REPORTS_ADDR)", &addresses.reports, REPORT)?;
        let caches = [
            way("--profiles-admin", &addresses.profiles_admin, CALL)?,
            way("--products-admin", &addresses.products_admin, CALL)?,
            way("--comments-admin", &addresses.comments_admin, CALL)?,
            way("--reports-admin", &addresses.reports_admin, CALL)?,
        ];
        Ok(Self {
            profiles: ProfileServiceClient::new(profiles.clone()),
            products: ProductServiceClient::new(products.clone()),
            comments: CommentServiceClient::new(comments.clone()),
            reports: ReportServiceClient::new(reports.clone()),
            clients: [profiles, products, comments, reports],
            caches: caches.map(|cache| cache.showing(token.clone())),
        })
    }

    /// The way to one of them, for whoever has messages of his own.
    pub fn client(&self, backend: Backend) -> Client {
        self.clients[backend as usize].clone()
    }

    /// The way to the cache of one of them: that of any replica.
    pub fn cache(&self, backend: Backend) -> CacheServiceClient<Client> {
        CacheServiceClient::new(self.caches[backend as usize].clone())
    }

    /// The caches of all replicas that there are now, each by the name of its service and its
    /// address. A service of which nobody can be found is a failure.
    pub async fn caches(&self) -> (Vec<Replica>, Vec<Failure>) {
        let (mut replicas, mut failures) = (Vec::new(), Vec::new());
        let found = join_all(self.caches.iter().map(Client::each)).await;
        for (service, found) in SERVICES.iter().zip(found) {
            if found.is_empty() {
                failures.push(Failure {
                    replica: (*service).to_owned(),
                    error: "UNAVAILABLE: no address of it is known".to_owned(),
                });
            }
            replicas.extend(found.into_iter().map(|(address, client)| Replica {
                name: format!("{service} {address}"),
                client: CacheServiceClient::new(client),
            }));
        }
        (replicas, failures)
    }
}

/// Asks a read, and once more where the first found nobody. `ask` makes the whole call.
///
/// ```
/// # use larder_gateway::{backends::{Backends, read}};
/// # use larder_proto::products::v1::GetProductRequest;
/// # async fn example(backends: &Backends) -> Result<(), tonic::Status> {
/// let product = read(|| {
///     let mut products = backends.products.clone();
///     let asked = GetProductRequest { id: "tea".to_owned() };
///     async move { products.get_product(asked).await }
/// })
/// .await?;
/// # Ok(()) }
/// ```
pub async fn read<T, F>(ask: impl Fn() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    match ask().await {
        Err(status) if found_nobody(&status) => ask().await,
        outcome => outcome,
    }
}

/// Whether a read that failed in this way may go well elsewhere. Every error that a service speaks
/// has an `ErrorInfo`; one without is the transport's, of a replica that died while it answered.
fn found_nobody(status: &Status) -> bool {
    let broken = matches!(
        status.code(),
        Code::Unknown | Code::Internal | Code::Cancelled
    );
    may_try_again(status) || broken && status.get_details_error_info().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_runtime::status;
    use std::cell::Cell;

    async fn asked(outcome: impl Fn() -> Result<(), Status>) -> (u32, Result<(), Code>) {
        let times = Cell::new(0);
        let ended = read(|| {
            times.set(times.get() + 1);
            std::future::ready(outcome())
        });
        let ended = ended.await.map_err(|status| status.code());
        (times.get(), ended)
    }

    #[tokio::test]
    async fn a_read_that_found_nobody_is_asked_once_more_and_no_other() {
        let away = || Err(status::unavailable("AWAY", "away", Duration::from_secs(1)));
        assert_eq!(asked(away).await, (2, Err(Code::Unavailable)));
        let broken = || Err(Status::unknown("h2 protocol error"));
        assert_eq!(asked(broken).await, (2, Err(Code::Unknown)));
        assert_eq!(asked(|| Ok(())).await, (1, Ok(())));
        let missing = || Err(status::not_found("product", "tea"));
        assert_eq!(asked(missing).await, (1, Err(Code::NotFound)));
        assert_eq!(
            asked(|| Err(status::internal())).await,
            (1, Err(Code::Internal))
        );
        let late = || Err(status::deadline_exceeded());
        assert_eq!(asked(late).await, (1, Err(Code::DeadlineExceeded)));
    }
}
