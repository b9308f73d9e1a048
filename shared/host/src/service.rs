//! What a service brings.

use crate::base::Base;
use larder::Source;
use larder_db::Migrator;
use larder_journal::Watches;
use larder_runtime::exposition::Page;
use larder_runtime::shortcut::Shortcut;
use std::convert::Infallible;
use std::sync::Arc;
use tonic::body::Body;
use tonic::server::NamedService;

/// Why a service could not be opened: a policy that makes no sense.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A generated gRPC server.
pub trait GrpcService:
    tower::Service<
        http::Request<Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> GrpcService for S where
    S: tower::Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The history of a service's tables, in the words of each engine.
pub struct Migrations {
    /// For SQLite.
    pub sqlite: Migrator,
    /// For PostgreSQL.
    pub postgres: Migrator,
}

/// An open service, as its gRPC port needs it.
pub struct Grpc<S> {
    /// The generated server.
    pub server: S,
    /// Answers at once what it can, before the server is asked.
    pub shortcut: Option<Arc<dyn Shortcut>>,
}

/// A service that owns tables.
pub trait Service: Send + Sync + 'static {
    /// Its gRPC server.
    type Server: GrpcService;

    /// The name of its source and of its database, the same in every process: `profiles`.
    fn name(&self) -> &'static str;

    /// The history of its tables.
    fn migrations(&self) -> Migrations;

    /// What a change of its tables touches.
    fn watches(&self) -> Watches;

    /// How its database is opened, given what the process brings: a service whose statements take
    /// long says so here, and how many of them may run at once (see [`Base::open`]).
    fn connections(&self, given: larder_db::Options) -> larder_db::Options {
        given
    }

    /// Opens its keyspaces. Called once, when the database is there; nothing is waited for.
    fn open(&self, base: &Base) -> Result<Grpc<Self::Server>, BoxError>;

    /// The sources of other services that it holds copies of, for `/metrics`; asked after
    /// [`open`](Self::open).
    fn others(&self) -> Vec<Source> {
        Vec::new()
    }

    /// Adds what it counts itself, for `/metrics`.
    fn measure(&self, page: &mut Page) {
        _ = page;
    }
}
