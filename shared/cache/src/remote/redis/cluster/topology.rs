//! Keeps the picture of the cluster true.
//!
//! Some nodes are asked, now and then, and soon after a call found the picture wrong. Where they
//! disagree, one that thinks the cluster whole is right before one that does not, and a higher
//! epoch before a lower one: a node that is cut off from the majority knows no failover since.

use super::super::server::Server;
use super::super::whereabouts::Guide;
use super::super::{CONNECT, words};
use super::nodes::{Map, Node, Nodes};
use super::slots::{self, Part};
use crate::remote::Error;
use crate::remote::backoff::Backoff;
use futures_util::future::join_all;
use redis::{Pipeline, Value};
use std::sync::Arc;
use std::time::Duration;

/// How often the picture is looked at when nobody complains.
const EVERY: Duration = Duration::from_secs(5);
/// The pauses between looks while somebody does.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Nodes that are asked at a time.
const ASKED: usize = 3;

/// Never ends. `guide` tells those who ask for values, `usher` those who listen.
pub(super) async fn watch(
    nodes: Arc<Nodes>,
    seeds: Vec<Server>,
    guide: Guide<Arc<Map>>,
    usher: Guide<Server>,
) {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    loop {
        match look(guide.last().as_deref(), &seeds, &nodes).await {
            Ok(map) => {
                let map = Arc::new(map);
                nodes.leave_unused(&map);
                seat(&usher, &map, false);
                guide.point(map);
            }
            Err(error) => {
                usher.miss(error.clone());
                guide.miss(error);
            }
        }
        tokio::time::sleep(backoff.pause()).await;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => backoff.reset(),
            () = guide.lost() => {}
            () = usher.lost() => if let Some(map) = guide.last() {
                seat(&usher, &map, true);
            },
        }
    }
}

/// Chooses the node to listen at: the same as long as it is one and works.
fn seat(usher: &Guide<Server>, map: &Map, is_lost: bool) {
    let last = usher.last();
    let mut nodes = map
        .in_turn()
        .into_iter()
        .map(|node: &Arc<Node>| &node.server);
    if !is_lost
        && last
            .as_ref()
            .is_some_and(|last| nodes.any(|node| node == last))
    {
        return;
    }
    let other = |node: &&Arc<Node>| Some(&node.server) != last.as_ref();
    if let Some(node) = map.in_turn().into_iter().find(other) {
        usher.point(node.server.clone());
    }
}

/// What a node says about its cluster.
struct View {
    is_whole: bool,
    epoch: u64,
    parts: Vec<Part>,
}

/// Asks some of the nodes that are known, or else those that the address names.
async fn look(known: Option<&Map>, seeds: &[Server], nodes: &Nodes) -> Result<Map, Error> {
    let known = known.map(Map::in_turn).unwrap_or_default();
    let views = known.into_iter().take(ASKED).map(|node| ask(node));
    let view = match best(join_all(views).await) {
        Some(Ok(view)) => view,
        _ => best(join_all(seeds.iter().map(ask_seed)).await)
            .unwrap_or(Err(Error::Failed(Arc::new(NoSlots))))?,
    };
    Map::new(view.parts, nodes)
}

fn question() -> Pipeline {
    let mut question = Pipeline::with_capacity(2);
    question
        .cmd("CLUSTER")
        .arg("SLOTS")
        .cmd("CLUSTER")
        .arg("INFO");
    question
}

async fn ask(node: &Node) -> Result<View, Error> {
    let question = question();
    match tokio::time::timeout(CONNECT, node.link.ask(&question)).await {
        Ok(answers) => read(&answers?, &node.address.0),
        Err(_) => Err(Error::Timeout(CONNECT)),
    }
}

/// Over a connection of its own: most often a seed is a node, which will have a link.
async fn ask_seed(seed: &Server) -> Result<View, Error> {
    let mut connection = seed.connect().await?;
    let question = question();
    let asked = connection.send_packed_commands(&question, 0, question.len());
    match tokio::time::timeout(CONNECT, asked).await {
        Ok(answers) => read(
            &answers.map_err(super::super::server::failure)?,
            &seed.host(),
        ),
        Err(_) => Err(Error::Timeout(CONNECT)),
    }
}

fn read(answers: &[Value], host: &str) -> Result<View, Error> {
    let [parts, about] = answers else {
        return Err(Error::Failed(Arc::new(NoSlots)));
    };
    let parts = slots::read(&words::accepted(parts.clone())?, host)?;
    if parts.is_empty() {
        return Err(Error::Failed(Arc::new(NoSlots)));
    }
    let about = words::text(about).unwrap_or_default();
    let field = |name: &str| {
        let mut lines = about.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    };
    Ok(View {
        is_whole: field("cluster_state") == Some("ok"),
        epoch: field("cluster_current_epoch")
            .and_then(|epoch| epoch.parse().ok())
            .unwrap_or(0),
        parts,
    })
}

/// The view that is most likely the right one, or else an error.
fn best(views: Vec<Result<View, Error>>) -> Option<Result<View, Error>> {
    let weight = |view: &Result<View, Error>| match view {
        Ok(view) => (1, view.is_whole, view.epoch),
        Err(_) => (0, false, 0),
    };
    views.into_iter().max_by_key(weight)
}

#[derive(Debug, thiserror::Error)]
#[error("no node knows who has which slots")]
struct NoSlots;
