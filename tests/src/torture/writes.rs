//! Writers over gRPC: each write says which version it expects, so that which version it makes is
//! known before it is made, whatever becomes of it.

use super::cast::{self, COLLECTIONS, author, collection_name, value};
use super::node::Running;
use super::reads::{Asker, Question, ask};
use super::world::{Belief, Row, World};
use crate::{Kind, asking};
use larder_proto::comments::v1 as comments;
use larder_proto::products::v1 as products;
use larder_proto::profiles::v1 as profiles;
use larder_testkit::history::{Collection, NOWHERE, Seen, State};
use larder_wire::names;
use prost_types::FieldMask;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Request, Response, Status};

/// Shorter than some faults last: the outcome is unknown then.
const PATIENCE: Duration = Duration::from_secs(3);

/// A write of one row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Write {
    Create(Collection),
    Update { from: u64, into: Collection },
    Delete(u64),
}

/// How long a token is shown to a process that may be stopped.
const SHOWN: Duration = Duration::from_secs(1);

/// Writes again and again at one process, and shows the tokens elsewhere: a process that is
/// stopped stops no other's writers.
pub(crate) async fn writer(world: Arc<World>, session: u32, home: usize) {
    let mut random = SmallRng::seed_from_u64(u64::from(session));
    while !world.is_stopped() {
        tokio::time::sleep(world.load.write_rest).await;
        let row = &world.rows[random.random_range(0..world.rows.len())];
        // Whoever has it keeps it for as long as a fault lasts.
        let Ok(mut belief) = row.belief.clone().try_lock_owned() else {
            continue;
        };
        let node = &world.nodes[home];
        let Some(running) = node.running() else {
            continue;
        };
        if *belief == Belief::Unknown {
            *belief = look(&world, (node.number, &running), session, row).await;
        }
        let Some(write) = choose(row, *belief, &mut random) else {
            continue;
        };
        let (after, token) = perform(&world, &running, row, write).await;
        *belief = after;
        let state = Row::state(after);
        drop(belief);
        if let (Some(token), Some(state)) = (token, state) {
            let shown = show(&world, session, (row, state, token), &mut random);
            let _ = tokio::time::timeout(SHOWN, shown).await;
        }
    }
}

fn choose(row: &Row, belief: Belief, random: &mut SmallRng) -> Option<Write> {
    match belief {
        Belief::Unknown => None,
        Belief::Absent => Some(Write::Create(row.role.collection)),
        Belief::Held(from, _) if row.role.comes_and_goes && random.random_bool(0.5) => {
            Some(Write::Delete(from))
        }
        Belief::Held(from, here) => {
            let moves = row.role.kind == Kind::Products && random.random_bool(0.3);
            let into = match moves {
                true => Collection(random.random_range(1..=COLLECTIONS)),
                false => here,
            };
            Some(Write::Update { from, into })
        }
    }
}

/// Asks the database through a process what the row is now.
async fn look(world: &World, at: (u16, &Running), session: u32, row: &Row) -> Belief {
    let asker = Asker {
        session,
        strong: true,
        ..Asker::default()
    };
    let question = Question::One(row.role.kind, row.role.id.clone());
    let Ok(answered) = ask(world, at, &asker, &question).await else {
        return Belief::Unknown;
    };
    let of_row = answered.facts.iter().find(|(place, _)| *place == row.place);
    match of_row {
        // The last value, and not the database's.
        _ if answered.origin == larder_testkit::history::Origin::Stale => Belief::Unknown,
        Some((
            _,
            Seen::Row {
                version,
                collection,
                ..
            },
        )) => Belief::Held(*version, *collection),
        Some((_, Seen::Absent)) => Belief::Absent,
        _ => Belief::Unknown,
    }
}

/// Writes, tells the judge, and returns what the row is now, with the write's token.
async fn perform(
    world: &World,
    running: &Running,
    row: &Row,
    write: Write,
) -> (Belief, Option<String>) {
    let invoked = world.now();
    let planned = match write {
        Write::Create(_) => None,
        Write::Update { from, into } => Some((State::version(from + 1), into)),
        Write::Delete(from) => Some((State::deleted(from), NOWHERE)),
    };
    if let Some((state, collection)) = planned {
        world.history.attempt(row.place, invoked, state, collection);
    }
    let put = tokio::time::timeout(PATIENCE, put(running, row, write)).await;
    match put.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))) {
        Ok((version, token)) => {
            let (belief, state) = match write {
                Write::Create(into) | Write::Update { into, .. } => {
                    (Belief::Held(version, into), (State::version(version), into))
                }
                Write::Delete(_) => (Belief::Absent, (State::deleted(version), NOWHERE)),
            };
            world.history.wrote(row.place, invoked, world.now(), state);
            (belief, token)
        }
        Err(status) => {
            // Written by another whose outcome was unknown: to be looked at.
            let races = [Code::Aborted, Code::NotFound, Code::AlreadyExists];
            if !races.contains(&status.code()) {
                world.note_error(&format!("write: {:?}", status.code()));
            }
            (Belief::Unknown, None)
        }
    }
}

/// Shows a token to another process: to the row, or to a list that it is in.
async fn show(
    world: &World,
    session: u32,
    (row, state, token): (&Row, State, String),
    random: &mut SmallRng,
) {
    let node = &world.nodes[random.random_range(0..world.nodes.len())];
    let Some(running) = node.running() else {
        return;
    };
    let asker = Asker {
        session,
        tokens: vec![token],
        shown: vec![(row.place, state)],
        ..Asker::default()
    };
    let group = match row.role.kind {
        Kind::Profiles => cast::PEOPLE,
        _ => Collection(random.random_range(1..=COLLECTIONS)),
    };
    // A profile's write shows in the lists of comments as well.
    let question = match (row.role.kind, random.random_range(0..3)) {
        (kind, 0) => Question::One(kind, row.role.id.clone()),
        (Kind::Profiles, 1) => Question::List(
            Kind::Comments,
            Collection(random.random_range(1..=COLLECTIONS)),
        ),
        (kind, _) => Question::List(kind, group),
    };
    // What fails is counted there.
    let _ = ask(world, (node.number, &running), &asker, &question).await;
}

type Written = (u64, Option<String>);

async fn put(running: &Running, row: &Row, write: Write) -> Result<Written, Status> {
    let id = row.role.id.clone();
    match row.role.kind {
        Kind::Profiles => {
            let mut client = running.profiles.clone();
            let profile = |text: String| {
                Some(profiles::Profile {
                    id: id.clone(),
                    display_name: text,
                    ..Default::default()
                })
            };
            match write {
                Write::Create(_) => {
                    let request = profiles::CreateProfileRequest {
                        profile: profile("made".into()),
                    };
                    written(client.create_profile(timed(request)).await, |row| {
                        row.version
                    })
                }
                Write::Update { from, .. } => {
                    let request = profiles::UpdateProfileRequest {
                        profile: profile(value(from + 1)),
                        update_mask: mask(&["display_name"]),
                        expected_version: Some(from),
                    };
                    written(client.update_profile(timed(request)).await, |row| {
                        row.version
                    })
                }
                Write::Delete(from) => {
                    let request = profiles::DeleteProfileRequest {
                        id,
                        expected_version: Some(from),
                    };
                    written(client.delete_profile(timed(request)).await, |row| {
                        row.version
                    })
                }
            }
        }
        Kind::Products => {
            let mut client = running.products.clone();
            let product = |text: String, into| {
                let category = collection_name(into);
                Some(products::Product {
                    id: id.clone(),
                    title: text,
                    category,
                    ..Default::default()
                })
            };
            match write {
                Write::Create(into) => {
                    let request = products::CreateProductRequest {
                        product: product("made".into(), into),
                    };
                    written(client.create_product(timed(request)).await, |row| {
                        row.version
                    })
                }
                Write::Update { from, into } => {
                    let request = products::UpdateProductRequest {
                        product: product(value(from + 1), into),
                        update_mask: mask(&["title", "category"]),
                        expected_version: Some(from),
                    };
                    written(client.update_product(timed(request)).await, |row| {
                        row.version
                    })
                }
                Write::Delete(from) => {
                    let request = products::DeleteProductRequest {
                        id,
                        expected_version: Some(from),
                    };
                    written(client.delete_product(timed(request)).await, |row| {
                        row.version
                    })
                }
            }
        }
        Kind::Comments => {
            let mut client = running.comments.clone();
            let comment = |text: String, into| {
                Some(comments::Comment {
                    id: id.clone(),
                    product_id: collection_name(into),
                    author_id: author(&id),
                    body: text,
                    ..Default::default()
                })
            };
            match write {
                Write::Create(into) => {
                    let request = comments::CreateCommentRequest {
                        comment: comment("made".into(), into),
                    };
                    written(client.create_comment(timed(request)).await, |row| {
                        row.version
                    })
                }
                Write::Update { from, into } => {
                    let request = comments::UpdateCommentRequest {
                        comment: comment(value(from + 1), into),
                        update_mask: mask(&["body"]),
                        expected_version: Some(from),
                    };
                    written(client.update_comment(timed(request)).await, |row| {
                        row.version
                    })
                }
                Write::Delete(from) => {
                    let request = comments::DeleteCommentRequest {
                        id,
                        expected_version: Some(from),
                    };
                    written(client.delete_comment(timed(request)).await, |row| {
                        row.version
                    })
                }
            }
        }
    }
}

fn written<T>(
    answer: Result<Response<T>, Status>,
    version: impl Fn(&T) -> u64,
) -> Result<Written, Status> {
    let (metadata, row, _) = answer?.into_parts();
    let token = metadata
        .get(names::TOKEN)
        .and_then(|token| token.to_str().ok());
    Ok((version(&row), token.map(str::to_owned)))
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = asking(message, &[]);
    request.set_timeout(PATIENCE);
    request
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    Some(FieldMask { paths })
}
