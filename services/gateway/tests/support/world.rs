//! Real services with two replicas each on one hub and one folder of SQLite, and a gateway.

use super::{Gate, parts};
use anyhow::Result;
use larder::remote::hub::Hub;
use larder_comments::Comments;
use larder_gateway::Parts;
use larder_gateway::backends::Addresses;
use larder_host::Service;
use larder_host::trial::{Home, Replica};
use larder_products::Products;
use larder_profiles::Profiles;
use std::sync::Arc;

/// The suite without reports, and a gateway in front of it.
pub struct World {
    pub gate: Gate,
    pub hub: Arc<Hub>,
    pub profiles: Vec<Replica>,
    pub products: Vec<Replica>,
    pub comments: Vec<Replica>,
    _home: Home,
}

impl World {
    pub async fn start() -> Result<Self> {
        Self::with(|_| {}).await
    }

    /// With a gateway of these parts.
    pub async fn with(change: impl FnOnce(&mut Parts)) -> Result<Self> {
        let (home, hub) = (Home::sqlite()?, Hub::new());
        let profiles = two(&home, &hub, || Profiles).await?;
        let products = two(&home, &hub, || Products).await?;
        let comments = two(&home, &hub, || Comments::new(profiles[0].client())).await?;
        let mut parts = parts(&Addresses {
            profiles: grpc(&profiles),
            products: grpc(&products),
            comments: grpc(&comments),
            profiles_admin: admin(&profiles),
            products_admin: admin(&products),
            comments_admin: admin(&comments),
            reports: "http://127.0.0.1:1".to_owned(),
            reports_admin: "http://127.0.0.1:1".to_owned(),
        });
        parts.remote = hub.clone();
        change(&mut parts);
        Ok(Self {
            gate: Gate::start(parts).await?,
            hub,
            profiles,
            products,
            comments,
            _home: home,
        })
    }
}

async fn two<S: Service>(
    home: &Home,
    hub: &Arc<Hub>,
    service: impl Fn() -> S,
) -> Result<Vec<Replica>> {
    let mut replicas = Vec::new();
    for _ in 0..2 {
        replicas.push(Replica::ready(service(), home.parts(hub)).await?);
    }
    Ok(replicas)
}

fn grpc(replicas: &[Replica]) -> String {
    let urls: Vec<_> = replicas
        .iter()
        .map(|replica| format!("http://{}", replica.grpc))
        .collect();
    urls.join(",")
}

fn admin(replicas: &[Replica]) -> String {
    let urls: Vec<_> = replicas
        .iter()
        .map(|replica| format!("http://{}", replica.admin))
        .collect();
    urls.join(",")
}
