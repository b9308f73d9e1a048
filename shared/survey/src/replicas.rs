//! Whom to ask, and how.

use crate::{Error, Failure};
use futures_util::stream::{self, StreamExt as _};
use larder_proto::cache::v1::cache_service_client::CacheServiceClient;
use larder_proto::cache::v1::{Keyspace, ListKeyspacesRequest};
use larder_runtime::client::Client;
use larder_runtime::status;
use std::time::Duration;
use tonic::{Response, Status};

/// How many are asked at the same time; the others follow as these answer.
const AT_ONCE: usize = 64;

/// The way to one.
pub type Way = CacheServiceClient<Client>;

/// A replica's cache.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its name, by which answers are told apart.
    pub name: String,
    /// The way to it.
    pub client: Way,
}

/// The replicas that are asked.
#[derive(Clone, Debug)]
pub struct Replicas {
    all: Vec<Replica>,
    limit: Duration,
}

/// What some replicas answered, and why others did not.
#[derive(Clone, Debug)]
pub struct Answers<T> {
    /// By replica, in the order of the replicas.
    pub answers: Vec<(String, T)>,
    /// The others.
    pub failures: Vec<Failure>,
}

impl Replicas {
    /// These, each of which has so long for an answer.
    pub fn new(all: Vec<Replica>, limit: Duration) -> Self {
        Self { all, limit }
    }

    /// All of them.
    pub fn all(&self) -> &[Replica] {
        &self.all
    }

    /// Asks all at once.
    pub async fn ask<T, F>(&self, ask: impl Fn(Way) -> F) -> Answers<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        // The futures are made first, as a stream of borrowed replicas is not `Send`.
        let asked: Vec<_> = self
            .all
            .iter()
            .map(|replica| {
                let answer = tokio::time::timeout(self.limit, ask(replica.client.clone()));
                async {
                    answer
                        .await
                        .unwrap_or_else(|_| Err(status::deadline_exceeded()))
                }
            })
            .collect();
        let outcomes: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        let (mut answers, mut failures) = (Vec::new(), Vec::new());
        for (replica, outcome) in self.all.iter().zip(outcomes) {
            match outcome {
                Ok(answer) => answers.push((replica.name.clone(), answer.into_inner())),
                Err(status) => failures.push(Failure::of(&replica.name, &status)),
            }
        }
        Answers { answers, failures }
    }

    /// Those that have a keyspace of this name, and what each says of it.
    pub async fn with(&self, keyspace: &str) -> Result<(Self, Vec<Keyspace>), Error> {
        let listed = self.keyspaces().await.whole()?;
        let mut known: Vec<String> = Vec::new();
        let (mut with, mut found) = (Vec::new(), Vec::new());
        for (name, listed) in listed.answers {
            known.extend(listed.iter().map(|keyspace| keyspace.name.clone()));
            let of = listed.into_iter().find(|of| of.name == keyspace);
            let replica = self.all.iter().find(|replica| replica.name == name);
            if let (Some(replica), Some(of)) = (replica, of) {
                with.push(replica.clone());
                found.push(of);
            }
        }
        if !with.is_empty() {
            return Ok((Self::new(with, self.limit), found));
        }
        known.sort();
        known.dedup();
        Err(Error::NoKeyspace {
            name: keyspace.to_owned(),
            known,
            failures: listed.failures,
        })
    }

    /// Which of these keyspaces each replica has; all replicas, with none, if none are named.
    pub async fn having(&self, keyspaces: &[String]) -> Result<Vec<(Replica, Vec<String>)>, Error> {
        if keyspaces.is_empty() {
            let all = self.all.iter().map(|replica| (replica.clone(), Vec::new()));
            return Ok(all.collect());
        }
        let mut having: Vec<(Replica, Vec<String>)> = Vec::new();
        for keyspace in keyspaces {
            for replica in self.with(keyspace).await?.0.all {
                match having.iter_mut().find(|(of, _)| of.name == replica.name) {
                    Some((_, keyspaces)) => keyspaces.push(keyspace.clone()),
                    None => having.push((replica, vec![keyspace.clone()])),
                }
            }
        }
        Ok(having)
    }

    /// The keyspaces of each.
    pub async fn keyspaces(&self) -> Answers<Vec<Keyspace>> {
        let list = |mut client: Way| async move {
            let listed = client.list_keyspaces(ListKeyspacesRequest {}).await?;
            Ok(listed.map(|listed| listed.keyspaces))
        };
        self.ask(list).await
    }
}

impl<T> Answers<T> {
    /// These answers, or an error where there is none.
    pub fn whole(self) -> Result<Self, Error> {
        match self.answers.is_empty() {
            true => Err(Error::Nobody(self.failures)),
            false => Ok(self),
        }
    }
}
