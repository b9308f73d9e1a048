//! One call, split over the nodes, in about one round trip.
//!
//! What comes back as MOVED or ASK is sent on to where it says, and what a silent replica left
//! unanswered is asked of another node: in some further rounds at the most. Nothing waits for a
//! failover to end.

use super::super::server::failure;
use super::super::whereabouts::Whereabouts;
use super::super::words;
use super::nodes::{Map, Node, Nodes};
use super::slots::Address;
use crate::remote::Error;
use futures_util::future::join_all;
use redis::{Cmd, Pipeline, RedisError, ServerErrorKind, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Rounds of a call: the first, two for a slot that is being moved by somebody whose last word we
/// have missed, and one for a node that does not answer.
const ROUNDS: usize = 4;

/// Nodes that a message is offered to, one after the other.
const OFFERS: usize = 3;

pub(super) type Answer = Result<Value, Error>;

/// Who may answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    Primary,
    /// A replica, or else the primary.
    Anywhere,
}

struct Call {
    slot: u16,
    command: Cmd,
    way: Way,
    /// Those that were asked and did not answer, and the last reason.
    failed: Vec<Address>,
    why: Error,
    answer: Option<Answer>,
}

/// Where a call goes next.
#[derive(Clone)]
enum Way {
    /// As the map says.
    Slot,
    /// As somebody says who has the slot no more.
    Moved(Arc<Node>),
    /// As somebody says who is giving the slot away, and has not got the key any more.
    Ask(Arc<Node>),
}

/// What one node is asked in one round.
struct Batch {
    node: Arc<Node>,
    asking: bool,
    calls: Vec<usize>,
}

/// The answers to these commands, each about one slot, refusals among them.
pub(super) async fn ask(
    nodes: &Nodes,
    map: &Whereabouts<Arc<Map>>,
    access: Access,
    asked: Vec<(u16, Cmd)>,
) -> Result<Vec<Answer>, Error> {
    let call = |(slot, command)| Call {
        slot,
        command,
        way: Way::Slot,
        failed: Vec::new(),
        why: Error::Failed(Arc::new(Nobody)),
        answer: None,
    };
    let mut calls: Vec<Call> = asked.into_iter().map(call).collect();
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    for _ in 0..ROUNDS {
        let picture = map.look().await?;
        let batches = split(&picture, access, &mut calls);
        if batches.is_empty() {
            break;
        }
        let asked = join_all(batches.iter().map(|batch| batch.ask(&calls))).await;
        let mut is_fine = true;
        for (batch, answers) in batches.iter().zip(asked) {
            for (&number, answer) in batch.calls.iter().zip(answers) {
                is_fine &= calls[number].settle(answer, batch, nodes);
            }
        }
        if !is_fine {
            map.lost();
        }
    }
    let answers = calls
        .into_iter()
        .map(|call| call.answer.unwrap_or(Err(call.why)));
    Ok(answers.collect())
}

/// Sends a message to whichever node takes it.
pub(super) async fn tell_anybody(
    map: &Whereabouts<Arc<Map>>,
    message: &Pipeline,
) -> Result<(), Error> {
    let mut told = Err(Error::Failed(Arc::new(Nobody)));
    for node in map.look().await?.in_order().into_iter().take(OFFERS) {
        let answers = node.link.ask(message).await;
        told = answers.and_then(|answers| {
            let mut answers = answers.into_iter().map(words::accepted);
            answers.try_for_each(|answer| answer.map(drop))
        });
        if told.is_ok() {
            break;
        }
        map.lost();
    }
    told
}

/// Groups the calls that have no answer yet by the node that they go to next. Those that can go
/// nowhere are answered with the reason.
fn split(map: &Map, access: Access, calls: &mut [Call]) -> Vec<Batch> {
    let turn = map.turn();
    let mut batches: HashMap<(Address, bool), Batch> = HashMap::new();
    let open = calls.iter_mut().enumerate();
    for (number, call) in open.filter(|(_, call)| call.answer.is_none()) {
        let Some((node, asking)) = call.next(map, access, turn) else {
            call.answer = Some(Err(call.why.clone()));
            continue;
        };
        let batch = batches.entry((node.address.clone(), asking));
        let batch = batch.or_insert_with(|| Batch {
            node,
            asking,
            calls: Vec::new(),
        });
        batch.calls.push(number);
    }
    batches.into_values().collect()
}

impl Batch {
    /// An answer to each of the calls.
    async fn ask(&self, calls: &[Call]) -> Vec<Answer> {
        let mut pipeline = Pipeline::with_capacity(2 * self.calls.len());
        for &number in &self.calls {
            if self.asking {
                pipeline.add_command(redis::cmd("ASKING"));
            }
            pipeline.add_command(calls[number].command.clone());
        }
        let each = if self.asking { 2 } else { 1 };
        match self.node.link.ask(&pipeline).await {
            Ok(answers) => answers
                .into_iter()
                .skip(each - 1)
                .step_by(each)
                .map(Ok)
                .collect(),
            Err(error) => self.calls.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

impl Call {
    fn next(&self, map: &Map, access: Access, turn: usize) -> Option<(Arc<Node>, bool)> {
        let has_failed = |node: &Arc<Node>| self.failed.contains(&node.address);
        let node = match &self.way {
            Way::Moved(node) => return Some((Arc::clone(node), false)),
            Way::Ask(node) => return Some((Arc::clone(node), true)),
            Way::Slot if access == Access::Primary => map.primary(self.slot),
            Way::Slot => {
                let readers = map.readers(self.slot, turn);
                readers.into_iter().find(|node| !has_failed(node))
            }
        };
        let node = node.filter(|node| !has_failed(node))?;
        Some((Arc::clone(node), false))
    }

    /// Takes an answer, or notes where to go on. False when it shows that the map is wrong.
    fn settle(&mut self, answer: Answer, batch: &Batch, nodes: &Nodes) -> bool {
        let error: RedisError = match answer {
            Ok(Value::ServerError(error)) => error.into(),
            Ok(value) => {
                self.answer = Some(Ok(value));
                return true;
            }
            Err(error) => {
                self.pass_over(batch, error);
                return false;
            }
        };
        match error.kind() {
            redis::ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => {
                match redirected(&error, &batch.node.address.0).and_then(|to| nodes.node(&to).ok())
                {
                    Some(to) if is_ask(&error) => self.way = Way::Ask(to),
                    Some(to) => self.way = Way::Moved(to),
                    None => self.pass_over(batch, failure(error)),
                }
                false
            }
            redis::ErrorKind::Server(
                ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ReadOnly,
            ) => {
                self.pass_over(batch, failure(error));
                false
            }
            _ => {
                self.answer = Some(Err(failure(error)));
                true
            }
        }
    }

    /// Another node may do, if there is one.
    fn pass_over(&mut self, batch: &Batch, why: Error) {
        self.failed.push(batch.node.address.clone());
        self.why = why;
        self.way = Way::Slot;
    }
}

fn is_ask(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::Ask)
}

/// Where an error says to go. A node that does not know its own host means the one that it is
/// reached at.
fn redirected(error: &RedisError, host: &str) -> Option<Address> {
    let (address, _) = error.redirect_node()?;
    let (name, port) = address.rsplit_once(':')?;
    let host = match name {
        "?" => return None,
        "" => host,
        name => name,
    };
    Some((host.to_owned(), port.parse().ok()?))
}

#[derive(Debug, thiserror::Error)]
#[error("no node of the cluster has what was asked for")]
struct Nobody;
