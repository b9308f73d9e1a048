//! The other end: a source that another service owns. Its rounds come over gRPC from a query that
//! the owner begins after it was asked; its values come with the labels of what was served.

use crate::convert;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use larder::feed::{self, Coverage, Feed, Line, Round, Written};
use larder::{Ask, Key, Load, Loaded, Proof, Tag, Value, load};
use larder_proto::cache::v1::feed_service_client::FeedServiceClient;
use larder_proto::cache::v1::{Entry, FetchEntriesRequest, GetRoundRequest};
use larder_runtime::client::{self, Client};
use std::sync::Arc;
use tonic::{Code, Status};

/// A round may be the whole journal.
const MAX_ROUND_BYTES: usize = 32 << 20;
/// Keys that one call may ask for.
const MAX_KEYS: usize = 1000;

/// The way to a source that another service owns. Clones share their connections.
#[derive(Clone)]
pub struct Upstream {
    source: Arc<str>,
    client: FeedServiceClient<Client>,
}

impl Upstream {
    /// The source of this name behind this client.
    pub fn new(source: &str, client: Client) -> Self {
        let client = FeedServiceClient::new(client).max_decoding_message_size(MAX_ROUND_BYTES);
        Self {
            source: source.into(),
            client,
        }
    }

    /// A loader for a keyspace of that source.
    pub fn loader<K: Key, V: Value>(&self, keyspace: &str) -> impl Load<K, V> + use<K, V> {
        Through {
            keyspace: keyspace.into(),
            client: self.client.clone(),
        }
    }
}

impl Feed for Upstream {
    fn round<'a>(
        &'a self,
        since: Option<&'a Coverage>,
    ) -> BoxFuture<'a, Result<Round, feed::Error>> {
        let request = GetRoundRequest {
            source: self.source.to_string(),
            since: since.map(convert::coverage_out),
        };
        let mut client = self.client.clone();
        async move {
            let round = client.get_round(request).await;
            let round = round.map_err(|status| feed::Error::Unavailable(Arc::new(status)))?;
            convert::round_in(round.into_inner())
        }
        .boxed()
    }

    fn touch<'a>(&'a self, _: &'a [Line]) -> BoxFuture<'a, Result<Written, feed::Error>> {
        async { Err(feed::Error::Unsupported) }.boxed()
    }
}

struct Through {
    keyspace: Arc<str>,
    client: FeedServiceClient<Client>,
}

impl<K: Key, V: Value> Load<K, V> for Through {
    fn asks_owner(&self) -> bool {
        true
    }

    fn load<'a>(
        &'a self,
        keys: &'a [K],
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<V>>, load::Error>> {
        async move {
            let mut loaded = Vec::with_capacity(keys.len());
            for keys in keys.chunks(MAX_KEYS) {
                loaded.extend(self.fetch(keys, ask).await?);
            }
            Ok(loaded)
        }
        .boxed()
    }
}

impl Through {
    async fn fetch<K: Key, V: Value>(
        &self,
        keys: &[K],
        ask: &Ask,
    ) -> Result<Vec<Loaded<V>>, load::Error> {
        let text = |key: &K| {
            let mut text = String::new();
            key.write(&mut text);
            text
        };
        let request = FetchEntriesRequest {
            keyspace: self.keyspace.to_string(),
            keys: keys.iter().map(text).collect(),
            // Rounded down: what comes back must be no older than was asked for.
            max_staleness_ms: u64::try_from(ask.max_staleness.as_millis()).unwrap_or(u64::MAX),
            tokens: ask.tokens.iter().map(larder::Token::encode).collect(),
        };
        let mut client = self.client.clone();
        // Twice: one replica of the owner may just have ended, and the next one answers. It only
        // reads, so it may be asked twice.
        let entries = match client.fetch_entries(request.clone()).await {
            Err(status) if client::may_try_again(&status) => client.fetch_entries(request).await,
            entries => entries,
        };
        let entries = entries.map_err(failure)?;
        entries
            .into_inner()
            .entries
            .into_iter()
            .map(loaded)
            .collect()
    }
}

fn loaded<V: Value>(entry: Entry) -> Result<Loaded<V>, load::Error> {
    let malformed = || load::Error::failed("the owner sent a value that cannot be read");
    let value = entry
        .found
        .then(|| V::decode(entry.payload).ok_or_else(malformed));
    Ok(Loaded {
        value: value.transpose()?,
        tags: entry.tags.into_iter().map(Tag).collect(),
        proof: entry
            .label
            .and_then(convert::label_in)
            .map_or(Proof::None, Proof::Claim),
    })
}

/// Whatever may pass is an owner that is away; the rest is the owner's answer.
fn failure(status: Status) -> load::Error {
    let passing = client::may_try_again(&status)
        || matches!(
            status.code(),
            Code::DeadlineExceeded | Code::ResourceExhausted
        );
    if passing {
        load::Error::unavailable(status)
    } else {
        load::Error::failed(status)
    }
}
