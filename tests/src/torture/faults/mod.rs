//! How each fault is made to happen, by what it happens to.

pub(super) mod database;
pub(super) mod fleet;
pub(super) mod links;
pub(super) mod processes;
pub(super) mod redis;
pub(super) mod sql;

use super::node::Node;
use super::world::World;
use rand::Rng as _;
use rand::rngs::SmallRng;

/// The process that it happens to.
fn victim<'a>(world: &'a World, random: &mut SmallRng) -> &'a Node {
    &world.nodes[random.random_range(0..world.nodes.len())]
}
