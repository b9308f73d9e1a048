//! The owner's end: rounds of its sources, and entries of its keyspaces, for other services.

use crate::refusal::refusal;
use crate::{ask, convert};
use larder::feed;
use larder::{Freshness, Read, Source, Token};
use larder_proto::cache::v1::feed_service_server::{FeedService, FeedServiceServer};
use larder_proto::cache::v1::{
    Entry, FetchEntriesRequest, FetchEntriesResponse, GetRoundRequest, GetRoundResponse,
};
use larder_runtime::deadline::Deadline;
use larder_runtime::status;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// Keys that one call may ask for.
const MAX_KEYS: usize = 1000;
/// Tokens that one call may show: those of a caller of who asks, and the newest write to these keys
/// that who asks knows of.
const MAX_TOKENS: usize = ask::MAX_TOKENS + 1;
/// When to try again after the source was away.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The sources of a service that others may hold copies of.
pub struct Feeds(Vec<Source>);

impl Feeds {
    /// The gRPC service for these sources.
    pub fn of(sources: impl IntoIterator<Item = Source>) -> FeedServiceServer<Self> {
        FeedServiceServer::new(Self(sources.into_iter().collect()))
    }
}

#[tonic::async_trait]
impl FeedService for Feeds {
    async fn get_round(
        &self,
        request: Request<GetRoundRequest>,
    ) -> Result<Response<GetRoundResponse>, Status> {
        let GetRoundRequest { source, since } = request.into_inner();
        let owned = self.0.iter().find(|owned| owned.name() == source);
        let owned = owned.ok_or_else(|| status::not_found("source", &source))?;
        let since = since.map(|since| {
            let malformed = || status::invalid("since", "is no coverage");
            convert::coverage_in(since).ok_or_else(malformed)
        });
        // The query begins now, after the request came: the asker takes its own time of asking
        // for the time of the proof.
        let round = owned
            .round(since.transpose()?.as_ref())
            .await
            .map_err(|error| {
                let away = matches!(error, feed::Error::Unavailable(_));
                tracing::debug!(error = &error as &dyn std::error::Error, away, "no round");
                status::unavailable("FEED_UNAVAILABLE", "the feed cannot be read", RETRY_AFTER)
            })?;
        Ok(Response::new(convert::round_out(round)))
    }

    async fn fetch_entries(
        &self,
        request: Request<FetchEntriesRequest>,
    ) -> Result<Response<FetchEntriesResponse>, Status> {
        let deadline = Deadline::of(&request).map(|deadline| deadline.at());
        let asked = request.into_inner();
        if asked.keys.len() > MAX_KEYS {
            return Err(status::invalid(
                "keys",
                format!("more than {MAX_KEYS} keys"),
            ));
        }
        if asked.tokens.len() > MAX_TOKENS {
            return Err(status::invalid(
                "tokens",
                format!("more than {MAX_TOKENS} tokens"),
            ));
        }
        let tokens = asked.tokens.iter().map(|text| Token::decode(text));
        let tokens = tokens.collect::<Result<Vec<_>, _>>();
        let tokens =
            tokens.map_err(|_| status::invalid("tokens", "are no tokens of this suite"))?;
        let keyspace = self
            .0
            .iter()
            .find_map(|source| source.find(&asked.keyspace));
        let keyspace = keyspace.ok_or_else(|| status::not_found("keyspace", &asked.keyspace))?;
        let freshness = match asked.max_staleness_ms {
            0 => Freshness::Strong,
            millis => Freshness::Within(Duration::from_millis(millis)),
        };
        let read = Read {
            freshness,
            tokens,
            deadline,
            ..Read::default()
        };
        let told = keyspace
            .tell(asked.keys, read)
            .await
            .map_err(|error| refusal(&error))?;
        let entries = told.into_iter().map(|told| Entry {
            found: told.payload.is_some(),
            payload: told.payload.unwrap_or_default(),
            tags: told.tags.into_iter().map(|tag| tag.0).collect(),
            label: told.label.as_ref().map(convert::label_out),
        });
        Ok(Response::new(FetchEntriesResponse {
            entries: entries.collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder::remote::hub::Hub;
    use larder::{Ask, Epoch, Larder, Loaded, Proof, Tag, load};
    use prost::bytes::Bytes;
    use tonic::Code;

    async fn absences(keys: Vec<String>, _: Ask) -> Result<Vec<Loaded<Bytes>>, load::Error> {
        let absent = |_| Loaded {
            value: None,
            tags: Vec::new(),
            proof: Proof::None,
        };
        Ok(keys.into_iter().map(absent).collect())
    }

    #[tokio::test]
    async fn who_asks_for_a_caller_may_show_the_callers_tokens_and_one_of_its_own() {
        let source = Larder::builder(Hub::new()).build().source("rows").open();
        let _rows = source.keyspace("rows", absences).open().expect("a policy");
        let feeds = Feeds(vec![source]);
        let token = Token {
            source: Tag::of("source", "rows").0,
            epoch: Epoch {
                system: 1,
                timeline: 1,
            },
            xid: 1,
            touched: 0,
        };
        let asked = |tokens| FetchEntriesRequest {
            keyspace: "rows".to_owned(),
            keys: vec!["1".to_owned()],
            max_staleness_ms: 1000,
            tokens: vec![token.encode(); tokens],
        };
        let told = feeds.fetch_entries(Request::new(asked(64 + 1))).await;
        assert_eq!(told.expect("an answer").into_inner().entries.len(), 1);
        let told = feeds.fetch_entries(Request::new(asked(64 + 2))).await;
        let refused = told.expect_err("too many");
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}
