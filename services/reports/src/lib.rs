//! The reports service: what was sold, and what that says.
//!
//! Owns the table `orders` and nothing else. Its reports are real aggregations over all orders of
//! some days and regions, which take seconds; it promises that each is computed once in the
//! cluster however many ask, kept although its callers may have left, and dropped by the orders
//! that change it and by no others. The titles beside its numbers are the products service's: it
//! holds copies of those, and joins them in memory. Never touches another service's table, and
//! knows neither Redis nor an engine of databases by name.
//!
//! Reading order: `rpc.rs` (what callers ask), `report.rs` (the reports and their keys), `scope.rs`
//! and `region.rs` (what a report covers, and so what moves it), `caching.rs` (what is kept and
//! for how long), `store.rs` (the statements), `sales.rs` (periods). Orders come in through
//! `recording.rs` (a stream) and `csv.rs` (a file), and are checked in `model.rs`; `upstream.rs` has the
//! copies of products, `warm.rs` the schedule.

pub mod caching;
pub mod csv;
#[doc(hidden)]
pub mod fuzzed;
pub mod model;
pub mod process;
pub mod recording;
pub mod region;
pub mod report;
pub mod rpc;
mod sales;
pub mod sample;
pub mod scope;
pub mod store;
pub mod upstream;
pub mod warm;

use caching::Keyspaces;
use larder::Source;
use larder_host::{Base, BoxError, Grpc, Migrations, Service};
use larder_journal::Watches;
use larder_proto::reports::v1::raw::report_service_server::ReportServiceServer;
use larder_runtime::client::Client;
use rpc::Rpc;
use std::sync::OnceLock;
use store::Store;
use upstream::Products;
use warm::Schedule;

/// The port of gRPC, unless something else is said.
pub const GRPC_PORT: u16 = 7401;
/// The admin port, unless something else is said.
pub const ADMIN_PORT: u16 = 9401;
/// Where the products are, unless something else is said.
pub const PRODUCTS: &str = "http://127.0.0.1:7201,http://127.0.0.1:7202";
/// When reports are computed ahead, unless something else is said.
pub const WARM_AT: &str = "03:00";
/// The largest message: a thousand orders with ids of the longest.
const MOST_BYTES: usize = 512 << 10;
/// Connections to read with, of which all but two compute reports at once. More would not make
/// reports come sooner, and would take the machine from everything else.
const READERS: u32 = 6;

/// The service.
#[derive(Default)]
pub struct Reports {
    products: Option<Client>,
    schedule: Schedule,
    /// The source of the products, once it is open.
    others: OnceLock<Source>,
}

impl Reports {
    /// With this way to the products, which need not be there, and this schedule.
    pub fn new(products: Client, schedule: Schedule) -> Self {
        Self {
            products: Some(products),
            schedule,
            others: OnceLock::new(),
        }
    }

    /// Without one: its tables can be opened and written, and nothing be served.
    pub fn detached() -> Self {
        Self::default()
    }
}

impl Service for Reports {
    type Server = ReportServiceServer<Rpc>;

    fn name(&self) -> &'static str {
        "reports"
    }

    fn migrations(&self) -> Migrations {
        store::migrations()
    }

    fn watches(&self) -> Watches {
        store::watches()
    }

    fn connections(&self, given: larder_db::Options) -> larder_db::Options {
        larder_db::Options {
            read_connections: given.read_connections.min(READERS),
            statement_timeout: given.statement_timeout.max(caching::COMPUTING),
            ..given
        }
    }

    fn open(&self, base: &Base) -> Result<Grpc<Self::Server>, BoxError> {
        let products = self.products.clone();
        let products = products.ok_or("reports cannot be served without a way to the products")?;
        let products = Products::open(base.larder(), products)?;
        let _ = self.others.set(products.source().clone());
        let store = Store::new(base.journal());
        let keyspaces = Keyspaces::open(base.source(), &store)?;
        let warming = self.schedule.clone().follow(keyspaces.clone(), warm::now);
        let stopping = base.tasks().stopping().clone();
        base.tasks().spawn("warm reports", async move {
            stopping.run_until_cancelled(warming).await;
        });
        let rpc = Rpc::new(base, store, keyspaces, products);
        let server = ReportServiceServer::new(rpc);
        Ok(Grpc {
            server: server.max_decoding_message_size(MOST_BYTES),
            shortcut: None,
        })
    }

    fn others(&self) -> Vec<Source> {
        self.others.get().cloned().into_iter().collect()
    }
}
