//! The operator's end: one process's cache, looked at, corrected and watched over gRPC.
//!
//! Reading order: this file checks what is asked and does it; `operator/convert.rs` makes messages
//! of what the cache says; `operator/check.rs` and `operator/watch.rs` are the two streams.

mod check;
mod convert;
mod watch;

use crate::refusal::refusal;
use futures_util::stream::BoxStream;
use larder::feed::{self, Line};
use larder::{AnyKeyspace, Larder, Source, Tag};
use larder_proto::cache::v1 as wire;
use larder_proto::cache::v1::cache_service_server::{CacheService, CacheServiceServer};
use larder_proto::cache::v1::target::Target;
use larder_runtime::status::{self, Problem};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

/// Keyspaces that one call may name.
const MAX_KEYSPACES: usize = 64;
/// What one call may invalidate.
const MAX_TARGETS: usize = 1000;
/// Keys that one call may warm.
const MAX_WARM: usize = 10_000;
/// Hot keys of a keyspace, unless the caller says otherwise.
const HOT: usize = 20;
const MAX_HOT: usize = 1000;
/// Bytes of a key's text or of a tag's.
const MAX_TEXT: usize = 1024;
/// Checks and watchers at once: each costs its part of the process's time.
const STREAMS: usize = 16;
/// When to try again where too many are under way, or the source was away.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// See the module's documentation.
pub struct Operator {
    larder: Larder,
    /// The service's own first, then those of others that it holds copies of.
    sources: Vec<Source>,
    ending: CancellationToken,
    streams: Arc<Semaphore>,
}

impl Operator {
    /// The gRPC service for these sources, of which the first is the service's own. Streams end
    /// when the process is `ending`.
    pub fn of(
        larder: Larder,
        sources: Vec<Source>,
        ending: CancellationToken,
    ) -> CacheServiceServer<Self> {
        CacheServiceServer::new(Self {
            larder,
            sources,
            ending,
            streams: Arc::new(Semaphore::new(STREAMS)),
        })
    }

    fn keyspace(&self, field: &str, name: &str) -> Result<Arc<dyn AnyKeyspace>, Status> {
        if name.is_empty() {
            return Err(status::invalid(field, "is empty"));
        }
        let found = self.sources.iter().find_map(|source| source.find(name));
        found.ok_or_else(|| status::not_found("keyspace", name))
    }

    /// The keyspaces of these names, all if there are none, by source and name.
    fn keyspaces(&self, names: &[String]) -> Result<Vec<Arc<dyn AnyKeyspace>>, Status> {
        if names.is_empty() {
            return Ok(self.sources.iter().flat_map(Source::keyspaces).collect());
        }
        at_most("keyspaces", names.len(), MAX_KEYSPACES)?;
        let named = names.iter().enumerate();
        named
            .map(|(n, name)| self.keyspace(&format!("keyspaces[{n}]"), name))
            .collect()
    }

    fn owns(&self, source: &Source) -> bool {
        let own = self.sources.first().map(Source::name);
        own == Some(source.name())
    }

    /// The source of this name; the service's own for the empty one.
    fn source(&self, name: &str) -> Result<&Source, Status> {
        let named = |source: &&Source| name.is_empty() || source.name() == name;
        let found = self.sources.iter().find(named);
        found.ok_or_else(|| status::not_found("source", name))
    }

    /// The journal line of a target, and its source.
    fn line(&self, index: usize, target: &wire::Target) -> Result<(&Source, Line), Status> {
        let field = |part: &str| format!("targets[{index}]{part}");
        let whole = |collection: &str| Line {
            collection: collection.to_owned(),
            key: Tag::WHOLE.to_owned(),
        };
        match target.target.as_ref() {
            None => Err(status::invalid(field(""), "names nothing")),
            Some(Target::Key(target)) => {
                let keyspace = self.keyspace(&field(".key.keyspace"), &target.keyspace)?;
                let line = keyspace.line(&target.key);
                let line = line.map_err(|error| no_key(&field(".key.key"), error))?;
                Ok((self.source(keyspace.source().name())?, line))
            }
            Some(Target::Tag(tag)) => {
                text(&field(".tag.collection"), &tag.collection)?;
                text(&field(".tag.key"), &tag.key)?;
                let line = Line {
                    collection: tag.collection.clone(),
                    key: tag.key.clone(),
                };
                Ok((self.source(&tag.source)?, line))
            }
            Some(Target::Keyspace(name)) => {
                let keyspace = self.keyspace(&field(".keyspace"), name)?;
                let source = self.source(keyspace.source().name())?;
                Ok((source, whole(keyspace.name())))
            }
            Some(Target::Source(name)) => Ok((self.source(name)?, whole(Tag::WHOLE))),
        }
    }
}

#[tonic::async_trait]
impl CacheService for Operator {
    type CheckStream = BoxStream<'static, Result<wire::CheckResponse, Status>>;
    type WatchStream = BoxStream<'static, Result<wire::WatchResponse, Status>>;

    async fn list_keyspaces(
        &self,
        _: Request<wire::ListKeyspacesRequest>,
    ) -> Result<Response<wire::ListKeyspacesResponse>, Status> {
        let keyspaces = self.keyspaces(&[])?;
        let described = keyspaces
            .iter()
            .map(|keyspace| convert::keyspace(&**keyspace, self.owns(keyspace.source())));
        Ok(Response::new(wire::ListKeyspacesResponse {
            keyspaces: described.collect(),
        }))
    }

    async fn get_stats(
        &self,
        request: Request<wire::GetStatsRequest>,
    ) -> Result<Response<wire::GetStatsResponse>, Status> {
        let keyspaces = self.keyspaces(&request.into_inner().keyspaces)?;
        let concerned = |source: &&Source| {
            let mut of = keyspaces.iter().map(|keyspace| keyspace.source().name());
            of.any(|name| name == source.name())
        };
        let sources = self.sources.iter().filter(concerned);
        let sources = sources.map(|source| convert::source_stats(source.name(), &source.stats()));
        Ok(Response::new(wire::GetStatsResponse {
            sources: sources.collect(),
            keyspaces: keyspaces
                .iter()
                .map(|keyspace| convert::stats(&**keyspace))
                .collect(),
        }))
    }

    async fn inspect(
        &self,
        request: Request<wire::InspectRequest>,
    ) -> Result<Response<wire::InspectResponse>, Status> {
        let asked = request.into_inner();
        let keyspace = self.keyspace("keyspace", &asked.keyspace)?;
        text("key", &asked.key)?;
        let inspection = keyspace.inspect(&asked.key, !asked.skip_source);
        let inspection = inspection.map_err(|error| no_key("key", error))?.await;
        Ok(Response::new(convert::inspection(
            asked.keyspace,
            inspection,
        )))
    }

    async fn invalidate(
        &self,
        request: Request<wire::InvalidateRequest>,
    ) -> Result<Response<wire::InvalidateResponse>, Status> {
        let targets = request.into_inner().targets;
        some("targets", targets.len(), MAX_TARGETS)?;
        // All are looked at before any is done.
        let mut by_source: BTreeMap<&str, (&Source, Vec<Line>)> = BTreeMap::new();
        for (index, target) in targets.iter().enumerate() {
            let (source, line) = self.line(index, target)?;
            if !self.owns(source) {
                return Err(not_owner(source.name()));
            }
            let lines = by_source.entry(source.name());
            lines.or_insert_with(|| (source, Vec::new())).1.push(line);
        }
        let mut tokens = Vec::new();
        for (source, lines) in by_source.into_values() {
            let token = source
                .invalidate(&lines)
                .await
                .map_err(|error| unwritten(source.name(), &error))?;
            tokens.extend(token.map(|token| token.encode()));
            tracing::info!(
                source.name = source.name(),
                lines = lines.len(),
                "invalidated by hand"
            );
        }
        Ok(Response::new(wire::InvalidateResponse { tokens }))
    }

    async fn warm(
        &self,
        request: Request<wire::WarmRequest>,
    ) -> Result<Response<wire::WarmResponse>, Status> {
        let asked = request.into_inner();
        let keyspace = self.keyspace("keyspace", &asked.keyspace)?;
        some("keys", asked.keys.len(), MAX_WARM)?;
        for (index, key) in asked.keys.iter().enumerate() {
            let field = || format!("keys[{index}]");
            text(&field(), key)?;
            keyspace
                .line(key)
                .map_err(|error| no_key(&field(), error))?;
        }
        let warmed = keyspace
            .warm(asked.keys)
            .await
            .map_err(|error| refusal(&error))?;
        Ok(Response::new(wire::WarmResponse {
            found: warmed.found as u64,
            absent: warmed.absent as u64,
        }))
    }

    async fn list_hot_keys(
        &self,
        request: Request<wire::ListHotKeysRequest>,
    ) -> Result<Response<wire::ListHotKeysResponse>, Status> {
        let asked = request.into_inner();
        let keyspaces = self.keyspaces(&asked.keyspaces)?;
        at_most("limit", asked.limit as usize, MAX_HOT)?;
        let limit = match asked.limit {
            0 => HOT,
            limit => limit as usize,
        };
        let hot = keyspaces.iter().flat_map(|keyspace| {
            let hot = keyspace.hot(limit).into_iter();
            hot.map(|hot| convert::hot_key(keyspace.name(), hot))
        });
        Ok(Response::new(wire::ListHotKeysResponse {
            keys: hot.collect(),
        }))
    }

    async fn get_advice(
        &self,
        request: Request<wire::GetAdviceRequest>,
    ) -> Result<Response<wire::GetAdviceResponse>, Status> {
        let keyspaces = self.keyspaces(&request.into_inner().keyspaces)?;
        let advice = keyspaces
            .iter()
            .map(|keyspace| convert::advice(keyspace.name(), keyspace.advice()));
        Ok(Response::new(wire::GetAdviceResponse {
            advice: advice.collect(),
        }))
    }

    async fn check(
        &self,
        request: Request<wire::CheckRequest>,
    ) -> Result<Response<Self::CheckStream>, Status> {
        let asked = request.into_inner();
        let keyspaces = self.keyspaces(&asked.keyspaces)?;
        let plan = check::Plan::of(&asked, keyspaces)?;
        let place = self.place()?;
        let stream = check::stream(plan, place, self.ending.clone());
        Ok(Response::new(stream))
    }

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let asked = request.into_inner();
        let keyspaces = match asked.keyspaces.is_empty() {
            true => None,
            false => Some(self.keyspaces(&asked.keyspaces)?),
        };
        let filter = watch::Filter::of(&asked, keyspaces.as_deref())?;
        let place = self.place()?;
        let stream = watch::stream(self.larder.watch(), filter, place, self.ending.clone());
        Ok(Response::new(stream))
    }
}

impl Operator {
    /// A place among the streams, held until the stream is dropped.
    fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Status> {
        self.streams.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{STREAMS} checks and watchers are under way already");
            status::resource_exhausted("TOO_MANY_STREAMS", message, RETRY_AFTER)
        })
    }
}

/// At least one and at most so many.
fn some(field: &str, count: usize, most: usize) -> Result<(), Status> {
    match count {
        0 => Err(status::invalid(field, "is empty")),
        _ => at_most(field, count, most),
    }
}

fn at_most(field: &str, count: usize, most: usize) -> Result<(), Status> {
    match count > most {
        true => Err(status::invalid(
            field,
            format!("are {count}, of at most {most}"),
        )),
        false => Ok(()),
    }
}

fn text(field: &str, text: &str) -> Result<(), Status> {
    match text.len() {
        0 => Err(status::invalid(field, "is empty")),
        length if length > MAX_TEXT => Err(status::invalid(
            field,
            format!("is longer than {MAX_TEXT} bytes"),
        )),
        _ => Ok(()),
    }
}

fn no_key(field: &str, error: larder::operate::NoKey) -> Status {
    status::invalid(field, error.to_string())
}

fn not_owner(source: &str) -> Status {
    let message = format!("{source} is another service's source: ask that service");
    Problem::new(Code::FailedPrecondition, "NOT_OWNER", message)
        .with("source", source)
        .into()
}

fn unwritten(source: &str, error: &feed::Error) -> Status {
    match error {
        feed::Error::Unsupported => not_owner(source),
        feed::Error::Unavailable(_) | feed::Error::Unusable(_) => {
            tracing::debug!(
                error = error as &dyn std::error::Error,
                source,
                "not invalidated"
            );
            let message = "the journal cannot be written now; nothing was invalidated";
            status::unavailable("SOURCE_UNAVAILABLE", message, RETRY_AFTER)
        }
    }
}
