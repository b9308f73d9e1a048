//! One replica of products, as a client sees it.

use larder::clock::{Clock, Stamp};
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::products::v1::{
    BatchGetProductsRequest, CreateProductRequest, GetProductRequest, ListProductsRequest, Product,
    UpdateProductRequest,
};
use larder_wire::names;
use prost_types::FieldMask;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a call may take.
const CALL: Duration = Duration::from_secs(10);

/// Where a replica is: its gRPC address, and its admin port if that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replica {
    /// `http://host:port`.
    pub grpc: String,
    /// Where `/metrics` is.
    pub admin: Option<SocketAddr>,
}

/// A replica that calls can be made to. Clones share its connection.
#[derive(Clone)]
pub struct Target {
    client: ProductServiceClient<Channel>,
    clock: Clock,
    /// Sent along with every read, when it is not the keyspace's own.
    max_staleness: Option<Duration>,
}

/// Which tier an answer came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// The memory of the replica.
    L1,
    /// The tier that the replicas share.
    L2,
    /// The database.
    Database,
    /// A copy that is marked as stale.
    Stale,
    /// It does not say.
    Unknown,
}

/// What a read brought.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// When it was asked for.
    pub invoked: Stamp,
    /// When it came.
    pub returned: Stamp,
    /// The product's version; 0 where there is none.
    pub version: u64,
    /// Where it came from.
    pub tier: Tier,
    /// How far behind its source it said it can be.
    pub told: Option<Duration>,
}

/// What a write brought.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// When it returned.
    pub returned: Stamp,
    /// The version that it made.
    pub version: u64,
}

impl FromStr for Replica {
    type Err = String;

    /// `host:port` or `http://host:port` of gRPC. The admin port is taken to be where `larder up`
    /// has it, 2000 above; where it is not, the report says so.
    fn from_str(text: &str) -> Result<Self, String> {
        let grpc = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let malformed = || format!("{text:?} is not host:port or http://host:port");
        let endpoint = Endpoint::from_shared(grpc.clone()).map_err(|_| malformed())?;
        let uri = endpoint.uri();
        let (host, port) = (uri.host().ok_or_else(malformed)?, uri.port_u16());
        let port = port.ok_or_else(malformed)?;
        let host = if host == "localhost" {
            "127.0.0.1"
        } else {
            host
        };
        let admin = port.checked_add(2000).map(|port| format!("{host}:{port}"));
        Ok(Self {
            grpc,
            admin: admin.and_then(|address| address.parse().ok()),
        })
    }
}

impl Target {
    /// The way to a replica; it connects with the first call.
    pub fn new(
        replica: &Replica,
        clock: Clock,
        max_staleness: Option<Duration>,
    ) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(replica.grpc.clone())?;
        let channel = endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .connect_lazy();
        Ok(Self {
            client: ProductServiceClient::new(channel),
            clock,
            max_staleness,
        })
    }

    /// Reads a product. That there is none is an answer too.
    pub async fn read(&self, id: &str) -> Result<Answer, Status> {
        let mut request = within(GetProductRequest { id: id.to_owned() });
        if let Some(bound) = self.max_staleness {
            let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
            request
                .metadata_mut()
                .insert(names::MAX_STALENESS, millis.into());
        }
        let invoked = self.clock.now();
        let outcome = self.client.clone().get_product(request).await;
        let returned = self.clock.now();
        let (version, metadata) = match outcome {
            Ok(answer) => (answer.get_ref().version, answer.metadata().clone()),
            Err(status) if status.code() == Code::NotFound => (0, status.metadata().clone()),
            Err(status) => return Err(status),
        };
        Ok(Answer {
            invoked,
            returned,
            version,
            tier: tier(&metadata),
            told: told(&metadata),
        })
    }

    /// Sets a product's price.
    pub async fn write(&self, id: &str, price_cents: i64) -> Result<Written, Status> {
        let product = Product {
            id: id.to_owned(),
            price_cents,
            ..Product::default()
        };
        let request = within(UpdateProductRequest {
            product: Some(product),
            update_mask: Some(FieldMask {
                paths: vec!["price_cents".to_owned()],
            }),
            expected_version: None,
        });
        let answer = self.client.clone().update_product(request).await?;
        Ok(Written {
            returned: self.clock.now(),
            version: answer.get_ref().version,
        })
    }

    /// Reads many products at once; says from where.
    pub async fn batch(&self, ids: Vec<String>) -> Result<Tier, Status> {
        let request = within(BatchGetProductsRequest { ids });
        let answer = self.client.clone().batch_get_products(request).await?;
        Ok(tier(answer.metadata()))
    }

    /// Reads the first page of a category; says from where.
    pub async fn list(&self, category: &str, page_size: i32) -> Result<Tier, Status> {
        let request = within(ListProductsRequest {
            category: category.to_owned(),
            page_size,
            ..ListProductsRequest::default()
        });
        let answer = self.client.clone().list_products(request).await?;
        Ok(tier(answer.metadata()))
    }

    /// Which of these there are none of.
    pub async fn missing(&self, ids: Vec<String>) -> Result<Vec<String>, Status> {
        let request = within(BatchGetProductsRequest { ids });
        Ok(self
            .client
            .clone()
            .batch_get_products(request)
            .await?
            .into_inner()
            .missing_ids)
    }

    /// Makes a product; that somebody else was faster is fine.
    pub async fn create(&self, product: Product) -> Result<(), Status> {
        let request = within(CreateProductRequest {
            product: Some(product),
        });
        match self.client.clone().create_product(request).await {
            Err(status) if status.code() != Code::AlreadyExists => Err(status),
            _ => Ok(()),
        }
    }
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}

fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name).and_then(|value| value.to_str().ok())
}

fn tier(metadata: &MetadataMap) -> Tier {
    match text(metadata, names::SOURCE) {
        Some("l1") => Tier::L1,
        Some("l2") => Tier::L2,
        Some("db") => Tier::Database,
        Some("stale") => Tier::Stale,
        _ => Tier::Unknown,
    }
}

fn told(metadata: &MetadataMap) -> Option<Duration> {
    text(metadata, names::AGE)?
        .parse()
        .ok()
        .map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_named_by_its_grpc_port() {
        let replica: Replica = "127.0.0.1:7201".parse().expect("an address");
        assert_eq!(replica.grpc, "http://127.0.0.1:7201");
        assert_eq!(
            replica.admin,
            Some(SocketAddr::from(([127, 0, 0, 1], 9201)))
        );
        assert_eq!(
            "http://localhost:7202"
                .parse::<Replica>()
                .expect("a URL")
                .admin,
            Some(SocketAddr::from(([127, 0, 0, 1], 9202)))
        );
        for malformed in ["", "nowhere", "http://", "http://host", "a b:1"] {
            malformed.parse::<Replica>().expect_err(malformed);
        }
    }
}
