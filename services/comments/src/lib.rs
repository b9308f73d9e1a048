//! The comments service: what people say about products.
//!
//! Owns the table `comments` and nothing else. A comment is signed with its author's name, which
//! the profiles own: it holds copies of theirs, and joins them in memory. Promises that a
//! comment's version is never used twice for one id, whoever writes it, and that comments are
//! listed also while the profiles are away. Never touches another service's table, and knows
//! neither Redis nor an engine of databases by name.
//!
//! Reading order: `rpc.rs` (what callers ask), `caching.rs` (what is kept, and what moves it),
//! `listing.rs` (a page, and how names are joined to it), `authors.rs` (the copies of profiles),
//! `crowd.rs` (what is made before it is asked for),
//! `store.rs` (the statements), `model.rs` (what is checked where it enters).

pub mod authors;
pub mod caching;
pub mod crowd;
pub mod listing;
pub mod model;
pub mod process;
pub mod rpc;
pub mod sample;
pub mod store;

use authors::Authors;
use caching::Keyspaces;
use larder::Source;
use larder_host::{Base, BoxError, Grpc, Migrations, Service};
use larder_journal::Watches;
use larder_proto::comments::v1::raw::comment_service_server::CommentServiceServer;
use larder_runtime::client::Client;
use larder_runtime::exposition::Page;
use rpc::Rpc;
use std::sync::{Arc, OnceLock};
use store::Store;

/// The port of gRPC, unless something else is said.
pub const GRPC_PORT: u16 = 7301;
/// The admin port, unless something else is said.
pub const ADMIN_PORT: u16 = 9301;
/// Where the profiles are, unless something else is said.
pub const PROFILES: &str = "http://127.0.0.1:7101,http://127.0.0.1:7102";
/// The largest request.
const MOST_BYTES: usize = 256 << 10;

/// The service.
#[derive(Default)]
pub struct Comments {
    profiles: Option<Client>,
    /// The source of the profiles, once it is open.
    others: OnceLock<Source>,
    /// How many followers make a crowd; 0 for none does.
    crowd_followers: u64,
    crowd: Arc<crowd::Counts>,
}

impl Comments {
    /// With this way to the profiles. They need not be there.
    pub fn new(profiles: Client) -> Self {
        Self {
            profiles: Some(profiles),
            crowd_followers: crowd::FOLLOWERS,
            ..Self::default()
        }
    }

    /// Where an author with so many followers comments, the page is made before they come; with 0
    /// it never is.
    pub fn crowd_followers(mut self, followers: u64) -> Self {
        self.crowd_followers = followers;
        self
    }

    /// Without one: its tables can be opened and written, and nothing be served.
    pub fn detached() -> Self {
        Self::default()
    }
}

impl Service for Comments {
    type Server = CommentServiceServer<Rpc>;

    fn name(&self) -> &'static str {
        "comments"
    }

    fn migrations(&self) -> Migrations {
        store::migrations()
    }

    fn watches(&self) -> Watches {
        store::watches()
    }

    fn open(&self, base: &Base) -> Result<Grpc<Self::Server>, BoxError> {
        let profiles = self.profiles.clone();
        let profiles = profiles.ok_or("comments cannot be served without a way to the profiles")?;
        let authors = Authors::open(base.larder(), profiles)?;
        let _ = self.others.set(authors.source().clone());
        let store = Store::new(base.journal());
        let keyspaces = Keyspaces::open(base, &store)?;
        let rpc = Arc::new(Rpc::new(base, store, keyspaces, authors.clone()));
        if self.crowd_followers > 0 {
            let (followers, counts) = (self.crowd_followers, self.crowd.clone());
            crowd::start(base, rpc.clone(), authors, followers, counts);
        }
        let server = CommentServiceServer::from_arc(rpc.clone());
        Ok(Grpc {
            server: server.max_decoding_message_size(MOST_BYTES),
            shortcut: Some(rpc),
        })
    }

    fn others(&self) -> Vec<Source> {
        self.others.get().cloned().into_iter().collect()
    }

    fn measure(&self, page: &mut Page) {
        self.crowd.measure(page);
    }
}
