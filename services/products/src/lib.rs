//! The products service: what is for sale.
//!
//! Owns the table `products` and nothing else. Promises that a product's version is never used
//! twice for one id, whoever writes it. Never touches another service's table, and knows neither
//! Redis nor an engine of databases by name. Reading order: `rpc.rs` (what callers ask),
//! `listing.rs` (pages of the list), `catalogue.rs` (names alone), `launch.rs` (what is loaded ahead
//! of a crowd, and kept for it), `caching.rs` (what is kept, and what moves it), `store.rs` (the
//! statements), `model.rs` (what is checked where it enters).

pub mod caching;
pub mod catalogue;
pub mod launch;
pub mod listing;
pub mod model;
pub mod process;
pub mod rpc;
pub mod sample;
pub mod store;

use caching::Keyspaces;
use larder_host::{Base, BoxError, Grpc, Migrations, Service};
use larder_journal::Watches;
use larder_proto::products::v1::raw::product_service_server::ProductServiceServer;
use launch::keeper::Keeper;
use rpc::Rpc;
use std::sync::Arc;
use store::Store;

/// The port of gRPC, unless something else is said.
pub const GRPC_PORT: u16 = 7201;
/// The admin port, unless something else is said.
pub const ADMIN_PORT: u16 = 9201;
/// The largest request.
const MOST_BYTES: usize = 256 << 10;

/// The service.
#[derive(Clone, Copy, Debug)]
pub struct Products;

impl Service for Products {
    type Server = ProductServiceServer<Rpc>;

    fn name(&self) -> &'static str {
        "products"
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
        let replica = format!("{:016x}", base.larder().id());
        let keeper = Keeper::new(&store, &keyspaces.products, replica);
        let rpc = Arc::new(Rpc::new(base, store, keyspaces));
        keeper.start(rpc.launches().wake().clone(), base.tasks());
        let server = ProductServiceServer::from_arc(rpc.clone());
        Ok(Grpc {
            server: server.max_decoding_message_size(MOST_BYTES),
            shortcut: Some(rpc),
        })
    }
}
