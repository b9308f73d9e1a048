//! Where the replicas are, and how all of them are asked at once.

use anyhow::{Context as _, bail};
use futures_util::future::join_all;
use larder_proto::cache::v1::cache_service_client::CacheServiceClient;
use larder_proto::cache::v1::{Keyspace, ListKeyspacesRequest};
use larder_runtime::client::{self, Client};
use larder_runtime::tls::Tls;
use larder_runtime::token::Token;
use serde::Serialize;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::{Response, Status};

/// The services of `larder up`, in the order of their ports.
const SERVICES: [&str; 4] = ["profiles", "products", "comments", "reports"];
/// The most replicas of one service.
const MOST: u16 = 9;
/// How long a port of this machine may take to say whether anybody listens.
const KNOCK: Duration = Duration::from_millis(500);

/// The way to one.
pub type Way = CacheServiceClient<Client>;

/// A replica's cache.
#[derive(Clone)]
pub struct Replica {
    /// Its name: `products-1`, or its address.
    pub name: String,
    /// The way to it.
    pub client: Way,
}

/// What is shown to replicas, so that they answer.
#[derive(Default)]
pub struct Keys {
    /// The operator's certificate, and whom he believes.
    pub tls: Option<Tls>,
    /// A token.
    pub token: Option<Token>,
}

/// The replicas that are asked.
pub struct Replicas {
    all: Vec<Replica>,
}

/// A replica that did not answer.
#[derive(Serialize, Clone, Debug)]
pub struct Failure {
    /// Which.
    pub replica: String,
    /// Why not.
    pub error: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.replica, self.error)
    }
}

/// What some replicas answered, and why others did not.
pub struct Answers<T> {
    /// By replica.
    pub answers: Vec<(String, T)>,
    /// The others.
    pub failures: Vec<Failure>,
}

impl Replicas {
    /// Those at these addresses; where there are none, those of `larder up` that listen.
    /// They are shown what the keys say.
    pub async fn find(
        addresses: &[String],
        offset: u16,
        limit: Duration,
        keys: &Keys,
    ) -> anyhow::Result<Self> {
        let named = match addresses.is_empty() {
            true => here(offset).await?,
            false => addresses
                .iter()
                .map(|at| (at.clone(), at.clone()))
                .collect(),
        };
        let limits = client::Limits {
            call: limit,
            ..client::Limits::default()
        };
        let scheme = match &keys.tls {
            Some(_) if !addresses.is_empty() => "https",
            _ => "http",
        };
        let all = named.into_iter().map(|(name, address)| {
            let url = match address.contains("://") {
                true => address,
                false => format!("{scheme}://{address}"),
            };
            let setting = "--admin (LARDER_ADMIN)";
            let client = Client::over(setting, &url, limits, keys.tls.as_ref())?;
            let client = client.showing(keys.token.clone());
            Ok(Replica {
                name,
                client: CacheServiceClient::new(client),
            })
        });
        Ok(Self {
            all: all.collect::<anyhow::Result<_>>()?,
        })
    }

    /// All of them.
    pub fn all(&self) -> &[Replica] {
        &self.all
    }

    /// Asks all at once. An error if none answers.
    pub async fn ask<T>(
        &self,
        ask: impl AsyncFn(Way) -> Result<Response<T>, Status>,
    ) -> anyhow::Result<Answers<T>> {
        ask_these(&self.all, ask).await
    }

    /// Those that have a keyspace of this name, each with what it says of it. An error if there
    /// are none.
    pub async fn with(&self, keyspace: &str) -> anyhow::Result<Vec<(Replica, Keyspace)>> {
        let list = async |mut client: Way| client.list_keyspaces(ListKeyspacesRequest {}).await;
        let Answers { answers, failures } = self.ask(list).await?;
        let mut known: Vec<String> = Vec::new();
        let mut with = Vec::new();
        for (name, listed) in answers {
            known.extend(
                listed
                    .keyspaces
                    .iter()
                    .map(|keyspace| keyspace.name.clone()),
            );
            let found = listed.keyspaces.into_iter().find(|k| k.name == keyspace);
            let replica = self.all.iter().find(|replica| replica.name == name);
            with.extend(replica.cloned().zip(found));
        }
        if with.is_empty() {
            known.sort();
            known.dedup();
            let silent: Vec<_> = failures.iter().map(ToString::to_string).collect();
            let silent = match silent.is_empty() {
                true => String::new(),
                false => format!("; not answering: {}", silent.join("; ")),
            };
            let known = known.join(", ");
            bail!("there is no keyspace {keyspace}; there are {known}{silent}");
        }
        Ok(with)
    }

    /// Which of these keyspaces each replica has; all replicas if none are named.
    pub async fn having(
        &self,
        keyspaces: &[String],
    ) -> anyhow::Result<Vec<(Replica, Vec<String>)>> {
        if keyspaces.is_empty() {
            let all = self.all.iter().map(|replica| (replica.clone(), Vec::new()));
            return Ok(all.collect());
        }
        let mut having: Vec<(Replica, Vec<String>)> = Vec::new();
        for keyspace in keyspaces {
            for (replica, _) in self.with(keyspace).await? {
                match having
                    .iter_mut()
                    .find(|(known, _)| known.name == replica.name)
                {
                    Some((_, keyspaces)) => keyspaces.push(keyspace.clone()),
                    None => having.push((replica, vec![keyspace.clone()])),
                }
            }
        }
        Ok(having)
    }
}

/// Asks these at once. An error if none answers.
pub async fn ask_these<T>(
    replicas: &[Replica],
    ask: impl AsyncFn(Way) -> Result<Response<T>, Status>,
) -> anyhow::Result<Answers<T>> {
    let asked = replicas.iter().map(|replica| ask(replica.client.clone()));
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    for (replica, answer) in replicas.iter().zip(join_all(asked).await) {
        match answer {
            Ok(answer) => answers.push((replica.name.clone(), answer.into_inner())),
            Err(status) => failures.push(failure(replica, &status)),
        }
    }
    if answers.is_empty() {
        let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
        bail!("no replica answers: {}", failures.join("; "));
    }
    Ok(Answers { answers, failures })
}

/// Why a replica did not answer.
pub fn failure(replica: &Replica, status: &Status) -> Failure {
    let code = larder_runtime::status::code_name(status.code());
    Failure {
        replica: replica.name.clone(),
        error: format!("{code}: {}", status.message()),
    }
}

/// An error if some replicas did not answer, for after the answers of the others were printed.
pub fn all_answered(failures: &[Failure]) -> anyhow::Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
    bail!("some replicas did not answer: {}", failures.join("; "))
}

/// The replicas of `larder up` that listen, by name.
async fn here(offset: u16) -> anyhow::Result<Vec<(String, String)>> {
    let services = (1u16..).zip(SERVICES);
    let ports = services.flat_map(|(service, name)| {
        (1..=MOST).map(move |replica| (format!("{name}-{replica}"), 9000 + 100 * service + replica))
    });
    let moved = ports.map(|(name, port)| {
        let port = port.checked_add(offset);
        let port = port.context("--port-offset leads beyond the last port, 65535")?;
        Ok((name, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
    });
    let moved = moved.collect::<anyhow::Result<Vec<_>>>()?;
    let knocks = moved.iter().map(|(_, address)| async {
        let knock = tokio::time::timeout(KNOCK, TcpStream::connect(*address)).await;
        matches!(knock, Ok(Ok(_)))
    });
    let open = join_all(knocks).await;
    let listening = moved.into_iter().zip(open).filter(|(_, open)| *open);
    let found: Vec<_> = listening
        .map(|((name, address), _)| (name, address.to_string()))
        .collect();
    if found.is_empty() {
        let first = 9101 + u32::from(offset);
        bail!(
            "nobody listens at 127.0.0.1:{first} and its like: is `larder up` running? \
            --admin names replicas elsewhere"
        );
    }
    Ok(found)
}
