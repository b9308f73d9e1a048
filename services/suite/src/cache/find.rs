//! Where the replicas are.

use anyhow::{Context as _, bail};
use futures_util::future::join_all;
use larder_proto::cache::v1::cache_service_client::CacheServiceClient;
use larder_runtime::client::{self, Client};
use larder_runtime::tls::Tls;
use larder_runtime::token::Token;
use larder_survey::{Failure, Replica, Replicas};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// The services of `larder up`, in the order of their ports.
const SERVICES: [&str; 4] = ["profiles", "products", "comments", "reports"];
/// The most replicas of one service.
const MOST: u16 = 9;
/// How long a port of this machine may take to say whether anybody listens.
const KNOCK: Duration = Duration::from_millis(500);

/// What is shown to replicas, so that they answer.
#[derive(Default)]
pub struct Keys {
    /// The operator's certificate, and whom he believes.
    pub tls: Option<Tls>,
    /// A token.
    pub token: Option<Token>,
}

/// Those at these addresses; where there are none, those of `larder up` that listen. They are
/// shown what the keys say, and have so long for an answer.
pub async fn find(
    addresses: &[String],
    offset: u16,
    limit: Duration,
    keys: &Keys,
) -> anyhow::Result<Replicas> {
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
    Ok(Replicas::new(all.collect::<anyhow::Result<_>>()?, limit))
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
