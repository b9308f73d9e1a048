//! Readers: they ask for everything there is, and tell the judge what they were shown.

use super::cast::{self, COLLECTIONS, collection, collection_name, content};
use super::node::Running;
use super::world::{Row, World, locked};
use crate::{Kind, asking};
use larder_proto::comments::v1 as comments;
use larder_proto::products::v1 as products;
use larder_proto::profiles::v1 as profiles;
use larder_testkit::history::{
    Collection, Content, Moment, NOWHERE, Origin, Place, Read, Seen, State,
};
use larder_wire::names;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

/// Longer than a process is stopped, so that what it answers when it goes on is judged too.
const PATIENCE: Duration = Duration::from_secs(8);
/// What a reader rests when there is nobody to ask.
const NOBODY: Duration = Duration::from_millis(50);

/// A Δ that breaks the judge's, in milliseconds.
const LOOSE: &str = "30000";

/// What to ask for.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// One row.
    One(Kind, String),
    /// Several rows at once, of profiles or products.
    Batch(Kind, Vec<String>),
    /// Everything in a collection.
    List(Kind, Collection),
}

impl Question {
    fn name(&self) -> &'static str {
        match self {
            Self::One(Kind::Profiles, _) => "GetProfile",
            Self::One(Kind::Products, _) => "GetProduct",
            Self::One(Kind::Comments, _) => "GetComment",
            Self::Batch(Kind::Profiles, _) => "BatchGetProfiles",
            Self::Batch(..) => "BatchGetProducts",
            Self::List(Kind::Profiles, _) => "ListProfiles",
            Self::List(Kind::Products, _) => "ListProducts",
            Self::List(Kind::Comments, _) => "ListComments",
        }
    }
}

/// Who asks, and what they show.
#[derive(Clone, Default, Debug)]
pub(crate) struct Asker {
    pub(crate) session: u32,
    pub(crate) tokens: Vec<String>,
    pub(crate) shown: Vec<(Place, State)>,
    /// `strong`, or nothing.
    pub(crate) strong: bool,
    /// A Δ of one's own, in milliseconds.
    pub(crate) within: Option<&'static str>,
}

/// What was answered.
pub(crate) struct Answered {
    pub(crate) facts: Vec<(Place, Seen)>,
    pub(crate) origin: Origin,
}

/// Asks again and again, one process or any.
pub(crate) async fn reader(world: Arc<World>, session: u32, home: Option<usize>) {
    let mut random = SmallRng::seed_from_u64(u64::from(session));
    let mut asker = Asker {
        session,
        ..Asker::default()
    };
    while !world.is_stopped() {
        asker.within = world.loose.load(Ordering::Relaxed).then_some(LOOSE);
        let node = home.unwrap_or_else(|| random.random_range(0..world.nodes.len()));
        let question = choose(&world, &mut random);
        match world.nodes[node].running() {
            Some(running) => {
                let number = world.nodes[node].number;
                let asked = ask(&world, (number, &running), &asker, &question).await;
                if asked.is_err() {
                    // As a client would: no error is answered by asking at once.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            None => tokio::time::sleep(NOBODY).await,
        }
        if !world.load.rest.is_zero() {
            tokio::time::sleep(world.load.rest).await;
        }
    }
}

fn choose(world: &World, random: &mut SmallRng) -> Question {
    let any = |kind, random: &mut SmallRng| {
        let rows: Vec<&Row> = world.rows_of(kind).collect();
        rows[random.random_range(0..rows.len())].role.id.clone()
    };
    let group = |random: &mut SmallRng| Collection(random.random_range(1..=COLLECTIONS));
    match random.random_range(0..100) {
        0..32 => Question::One(Kind::Profiles, any(Kind::Profiles, random)),
        32..58 => Question::One(Kind::Products, any(Kind::Products, random)),
        58..68 => Question::One(Kind::Comments, any(Kind::Comments, random)),
        68..82 => Question::List(Kind::Comments, group(random)),
        82..90 => Question::List(Kind::Products, group(random)),
        90..93 => Question::List(Kind::Profiles, cast::PEOPLE),
        number => {
            let kind = [Kind::Profiles, Kind::Products][number as usize % 2];
            Question::Batch(kind, (0..8).map(|_| any(kind, random)).collect())
        }
    }
}

/// Asks once, and has the answer judged.
pub(crate) async fn ask(
    world: &World,
    (process, running): (u16, &Running),
    asker: &Asker,
    question: &Question,
) -> Result<Answered, Status> {
    let invoked = world.now();
    let answer = tokio::time::timeout(PATIENCE, put(world, running, asker, question)).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
    let returned = world.now();
    let took = returned - invoked;
    let (facts, metadata) = match answer {
        Ok(answer) => answer,
        Err(status) => {
            if status.code() == Code::Unavailable {
                locked(&world.latencies).unavailable(took);
            }
            world.note_error(&format!("read: {:?}", status.code()));
            return Err(status);
        }
    };
    let what = question.name();
    let read = told(&metadata, asker, (what, process), (invoked, returned));
    if read.origin == Origin::Stale {
        locked(&world.latencies).answered(read.origin, took);
    }
    world.history.read(&read, &facts);
    let origin = read.origin;
    Ok(Answered { facts, origin })
}

fn told(
    metadata: &MetadataMap,
    asker: &Asker,
    (what, process): (&'static str, u16),
    (invoked, returned): (Moment, Moment),
) -> Read {
    let text = |name| metadata.get(name).and_then(|value| value.to_str().ok());
    let origin = match text(names::SOURCE) {
        Some("l1") => Origin::L1,
        Some("l2") => Origin::L2,
        Some("db") => Origin::Database,
        Some("stale") => Origin::Stale,
        _ => Origin::Unsaid,
    };
    let age = text(names::AGE).and_then(|millis| millis.parse().ok());
    Read {
        what,
        session: asker.session,
        process,
        invoked,
        returned,
        origin,
        age: age.map(Duration::from_millis),
        shown: asker.shown.clone(),
    }
}

type Facts = Vec<(Place, Seen)>;

async fn put(
    world: &World,
    running: &Running,
    asker: &Asker,
    question: &Question,
) -> Result<(Facts, MetadataMap), Status> {
    let mut facts = Facts::new();
    let metadata = match question {
        Question::One(Kind::Profiles, id) => {
            let request = with(asker, profiles::GetProfileRequest { id: id.clone() });
            let answer = running.profiles.clone().get_profile(request).await;
            one(world, &mut facts, (Kind::Profiles, id), answer, profile)?
        }
        Question::One(Kind::Products, id) => {
            let request = with(asker, products::GetProductRequest { id: id.clone() });
            let answer = running.products.clone().get_product(request).await;
            one(world, &mut facts, (Kind::Products, id), answer, product)?
        }
        Question::One(Kind::Comments, id) => {
            let request = with(asker, comments::GetCommentRequest { id: id.clone() });
            let answer = running.comments.clone().get_comment(request).await;
            if let Ok(answer) = &answer {
                signature(world, &mut facts, answer.get_ref());
            }
            one(world, &mut facts, (Kind::Comments, id), answer, comment)?
        }
        Question::Batch(Kind::Profiles, ids) => {
            let request = with(
                asker,
                profiles::BatchGetProfilesRequest { ids: ids.clone() },
            );
            let answer = running.profiles.clone().batch_get_profiles(request).await?;
            let (metadata, batch, _) = answer.into_parts();
            let found = batch
                .profiles
                .iter()
                .map(|row| (row.id.as_str(), profile(row)));
            all(world, &mut facts, Kind::Profiles, found, &batch.missing_ids);
            metadata
        }
        Question::Batch(_, ids) => {
            let request = with(
                asker,
                products::BatchGetProductsRequest { ids: ids.clone() },
            );
            let answer = running.products.clone().batch_get_products(request).await?;
            let (metadata, batch, _) = answer.into_parts();
            let found = batch
                .products
                .iter()
                .map(|row| (row.id.as_str(), product(row)));
            all(world, &mut facts, Kind::Products, found, &batch.missing_ids);
            metadata
        }
        Question::List(Kind::Profiles, group) => {
            let request = profiles::ListProfilesRequest {
                page_size: 100,
                ..Default::default()
            };
            let answer = running
                .profiles
                .clone()
                .list_profiles(with(asker, request))
                .await?;
            let (metadata, page, _) = answer.into_parts();
            let found = page
                .profiles
                .iter()
                .map(|row| (row.id.as_str(), profile(row)));
            listed(world, &mut facts, (Kind::Profiles, *group), found.collect());
            metadata
        }
        Question::List(Kind::Products, group) => {
            let request = products::ListProductsRequest {
                page_size: 100,
                category: collection_name(*group),
                ..Default::default()
            };
            let answer = running
                .products
                .clone()
                .list_products(with(asker, request))
                .await?;
            let (metadata, page, _) = answer.into_parts();
            let found = page
                .products
                .iter()
                .map(|row| (row.id.as_str(), product(row)));
            listed(world, &mut facts, (Kind::Products, *group), found.collect());
            metadata
        }
        Question::List(Kind::Comments, group) => {
            let request = comments::ListCommentsRequest {
                product_id: collection_name(*group),
                page_size: 100,
                ..Default::default()
            };
            let answer = running
                .comments
                .clone()
                .list_comments(with(asker, request))
                .await?;
            let (metadata, page, _) = answer.into_parts();
            let found = page
                .comments
                .iter()
                .map(|row| (row.id.as_str(), comment(row)));
            listed(world, &mut facts, (Kind::Comments, *group), found.collect());
            page.comments
                .iter()
                .for_each(|row| signature(world, &mut facts, row));
            metadata
        }
    };
    Ok((facts, metadata))
}

fn with<T>(asker: &Asker, message: T) -> Request<T> {
    let mut metadata: Vec<(&'static str, &str)> = Vec::new();
    metadata.extend(
        asker
            .tokens
            .iter()
            .map(|token| (names::TOKEN, token.as_str())),
    );
    metadata.extend(asker.within.map(|millis| (names::MAX_STALENESS, millis)));
    if asker.strong {
        metadata.push((names::FRESHNESS, "strong"));
    }
    let mut request = asking(message, &metadata);
    request.set_timeout(PATIENCE);
    request
}

fn one<T>(
    world: &World,
    facts: &mut Facts,
    (kind, id): (Kind, &str),
    answer: Result<Response<T>, Status>,
    seen: impl Fn(&T) -> Seen,
) -> Result<MetadataMap, Status> {
    let place = world.row(kind, id).map(|row| row.place);
    let (metadata, seen) = match answer {
        Ok(answer) => {
            let seen = seen(answer.get_ref());
            (answer.into_parts().0, seen)
        }
        // A comment that does not exist, and not one whose author the profiles do not know.
        Err(status) if status.code() == Code::NotFound => (status.metadata().clone(), Seen::Absent),
        Err(status) => return Err(status),
    };
    facts.extend(place.map(|place| (place, seen)));
    Ok(metadata)
}

fn all<'a>(
    world: &World,
    facts: &mut Facts,
    kind: Kind,
    found: impl Iterator<Item = (&'a str, Seen)>,
    missing: &'a [String],
) {
    let missing = missing.iter().map(|id| (id.as_str(), Seen::Absent));
    let seen = found.chain(missing);
    facts.extend(seen.filter_map(|(id, seen)| Some((world.row(kind, id)?.place, seen))));
}

/// What a whole list says: of the rows that it shows, and of those that it does not.
fn listed(
    world: &World,
    facts: &mut Facts,
    (kind, group): (Kind, Collection),
    found: Vec<(&str, Seen)>,
) {
    for row in world.rows_of(kind) {
        let shown = found.iter().find(|(id, _)| *id == row.role.id);
        facts.push((
            row.place,
            shown.map_or(Seen::Outside(group), |(_, seen)| *seen),
        ));
    }
}

/// What a comment says of its author.
fn signature(world: &World, facts: &mut Facts, comment: &comments::Comment) {
    let Some(author) = world.row(Kind::Profiles, &comment.author_id) else {
        return;
    };
    let seen = match (
        comment.author_display_name.as_str(),
        content(&comment.author_display_name),
    ) {
        ("", _) => Seen::Absent,
        (_, Content::Of(version)) => row(version, cast::PEOPLE, Content::Of(version)),
        (_, Content::Aborted) => row(0, NOWHERE, Content::Aborted),
        (_, Content::Silent) => return,
    };
    facts.push((author.place, seen));
}

fn profile(profile: &profiles::Profile) -> Seen {
    row(
        profile.version,
        cast::PEOPLE,
        content(&profile.display_name),
    )
}

fn product(product: &products::Product) -> Seen {
    row(
        product.version,
        collection(&product.category),
        content(&product.title),
    )
}

fn comment(comment: &comments::Comment) -> Seen {
    row(
        comment.version,
        collection(&comment.product_id),
        content(&comment.body),
    )
}

fn row(version: u64, collection: Collection, content: Content) -> Seen {
    Seen::Row {
        version,
        collection,
        content,
    }
}
