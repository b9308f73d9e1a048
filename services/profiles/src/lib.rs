//! The profiles service: who people are.
//!
//! Owns the table `profiles` and nothing else. Promises that a profile's version is never used
//! twice for one id, whoever writes it. Never touches another service's table, and knows neither
//! Redis nor an engine of databases by name. Reading order: `rpc.rs` (what callers ask),
//! `caching.rs` (what is kept, and what moves it), `store.rs` (the statements), `model.rs`
//! (what is checked where it enters).

pub mod caching;
pub mod model;
pub mod process;
pub mod rpc;
pub mod sample;
pub mod store;

use caching::Keyspaces;
use larder_host::{Base, BoxError, Grpc, Migrations, Service};
use larder_journal::Watches;
use larder_proto::profiles::v1::raw::profile_service_server::ProfileServiceServer;
use rpc::Rpc;
use std::sync::Arc;
use store::Store;

/// The port of gRPC, unless something else is said.
pub const GRPC_PORT: u16 = 7101;
/// The admin port, unless something else is said.
pub const ADMIN_PORT: u16 = 9101;
/// The largest request.
const MOST_BYTES: usize = 256 << 10;

/// The service.
#[derive(Clone, Copy, Debug)]
pub struct Profiles;

impl Service for Profiles {
    type Server = ProfileServiceServer<Rpc>;

    fn name(&self) -> &'static str {
        "profiles"
    }

    fn migrations(&self) -> Migrations {
        store::migrations()
    }

    fn watches(&self) -> Watches {
        store::watches()
    }

    fn open(&self, base: &Base) -> Result<Grpc<Self::Server>, BoxError> {
        let store = Store::new(base.journal());
        let keyspaces = Keyspaces::open(base.source(), &store)?;
        let rpc = Arc::new(Rpc::new(base, store, keyspaces));
        let server = ProfileServiceServer::from_arc(rpc.clone());
        Ok(Grpc {
            server: server.max_decoding_message_size(MOST_BYTES),
            shortcut: Some(rpc),
        })
    }
}
