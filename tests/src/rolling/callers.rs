//! Who reads and writes, over HTTP or over gRPC: each has one request under way.

use super::browser::Browser;
use super::fleet::Part;
use super::stage::{HERE, Row, Stage, Table, value};
use larder_testkit::history::{Content, Origin, Place, Read, Seen, State};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

mod grpc;
mod http;

/// How callers go about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The share of writes, of 1.
    pub(crate) writes: f64,
    /// What a caller rests after a request.
    pub(crate) rest: Duration,
}

/// What to ask for.
#[derive(Clone, Copy, Debug)]
enum Question<'a> {
    Row(&'a Row),
    /// The comments on the thing with this number.
    Comments(usize),
    Report,
}

impl Question<'_> {
    fn part(self) -> Part {
        match self {
            Self::Row(row) => row.table.part(),
            Self::Comments(_) => Part::Comments,
            Self::Report => Part::Reports,
        }
    }
}

/// What was answered to a read.
struct Answer {
    facts: Vec<(Place, Seen)>,
    origin: Origin,
    age: Option<Duration>,
}

/// What was answered to a write: the version that it made, and its token.
type Written = (u64, Option<String>);

/// Why there is no answer.
struct Failed {
    told: String,
    /// The request certainly changed nothing.
    certain: bool,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// How a caller speaks.
enum Mouth {
    Http(Box<Browser>),
    Grpc,
}

impl Mouth {
    fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "HTTP",
            Self::Grpc => "gRPC",
        }
    }

    async fn read(
        &mut self,
        stage: &Stage,
        question: Question<'_>,
        tokens: &[String],
        strong: bool,
    ) -> Result<Answer, Failed> {
        match self {
            Self::Http(browser) => http::read(browser, stage, question, tokens, strong).await,
            Self::Grpc => grpc::read(stage, question, tokens, strong).await,
        }
    }

    async fn write(&mut self, stage: &Stage, row: &Row, from: u64) -> Result<Written, Failed> {
        match self {
            Self::Http(browser) => http::write(browser, row, from).await,
            Self::Grpc => grpc::write(stage, row, from).await,
        }
    }
}

/// Asks until the end, over HTTP or over gRPC.
pub(crate) async fn caller(stage: Arc<Stage>, session: u32, over_http: bool, pace: Pace) {
    let mut random = SmallRng::seed_from_u64(u64::from(session));
    let mouth = match over_http {
        true => Mouth::Http(Box::new(Browser::new(stage.fleet.clone()))),
        false => Mouth::Grpc,
    };
    let mut caller = Caller {
        stage: &stage,
        session,
        mouth,
    };
    while !stage.is_stopped() {
        match random.random_bool(pace.writes) {
            true => caller.write(&mut random).await,
            false => {
                let question = caller.choose(&mut random);
                // What fails is counted there.
                let _ = caller.ask(question, None, false).await;
            }
        }
        tokio::time::sleep(pace.rest).await;
    }
    if let Mouth::Http(browser) = &caller.mouth {
        stage.again.fetch_add(browser.again, Ordering::Relaxed);
    }
}

struct Caller<'a> {
    stage: &'a Stage,
    session: u32,
    mouth: Mouth,
}

impl<'a> Caller<'a> {
    fn choose(&self, random: &mut SmallRng) -> Question<'a> {
        let stage = self.stage;
        let here = |part| !stage.fleet.addresses(part).is_empty();
        // Most are asked about little: of two, the lower number.
        let number = |random: &mut SmallRng, below: usize| {
            random
                .random_range(0..below)
                .min(random.random_range(0..below))
        };
        match random.random_range(0..100) {
            0..15 if here(Part::Comments) => {
                Question::Comments(number(random, stage.there(Table::Products).count()))
            }
            15..20 if here(Part::Reports) => Question::Report,
            _ => {
                let rows = &stage.rows;
                let table = rows[random.random_range(0..rows.len())].table;
                let rows: Vec<&Row> = stage.there(table).collect();
                Question::Row(rows[number(random, rows.len())])
            }
        }
    }

    /// Reads, and has the answer judged; what fails is counted.
    async fn ask(
        &mut self,
        question: Question<'_>,
        shown: Option<(Place, State, String)>,
        strong: bool,
    ) -> Option<Answer> {
        let stage = self.stage;
        let tokens: Vec<String> = shown.iter().map(|(.., token)| token.clone()).collect();
        let invoked = stage.now();
        let answer = self.mouth.read(stage, question, &tokens, strong).await;
        stage.requests.fetch_add(1, Ordering::Relaxed);
        let answer = match answer {
            Ok(answer) => answer,
            Err(failed) => {
                let (mouth, part) = (self.mouth.name(), question.part());
                stage.fail(format!("{mouth} read of {part}: {}", failed.told));
                return None;
            }
        };
        let read = Read {
            what: self.mouth.name(),
            session: self.session,
            process: 0,
            invoked,
            returned: stage.now(),
            origin: answer.origin,
            age: answer.age,
            shown: shown
                .into_iter()
                .map(|(place, state, _)| (place, state))
                .collect(),
        };
        stage.judge(question.part(), &read, &answer.facts);
        Some(answer)
    }

    /// Writes a row that nobody else writes now, and reads it back with the token.
    async fn write(&mut self, random: &mut SmallRng) {
        let stage = self.stage;
        let row = &stage.rows[random.random_range(0..stage.rows.len())];
        let Ok(mut version) = row.version.try_lock() else {
            return;
        };
        if version.is_none() {
            let answer = self.ask(Question::Row(row), None, true).await;
            *version = answer.and_then(|answer| told(&answer));
        }
        let Some(from) = *version else { return };
        let (next, invoked) = (State::version(from + 1), stage.now());
        stage.history.attempt(row.place, invoked, next, HERE);
        let written = self.mouth.write(stage, row, from).await;
        stage.requests.fetch_add(1, Ordering::Relaxed);
        match written {
            Ok((made, token)) => {
                let state = State::version(made);
                stage
                    .history
                    .wrote(row.place, invoked, stage.now(), (state, HERE));
                *version = Some(made);
                drop(version);
                if let Some(token) = token {
                    self.ask(Question::Row(row), Some((row.place, state, token)), false)
                        .await;
                }
            }
            Err(failed) => {
                if !failed.certain {
                    *version = None;
                    stage.ambiguous.fetch_add(1, Ordering::Relaxed);
                }
                let (mouth, part) = (self.mouth.name(), row.table.part());
                stage.fail(format!("{mouth} write of {part}: {}", failed.told));
            }
        }
    }
}

/// The version that the database's answer shows.
fn told(answer: &Answer) -> Option<u64> {
    match answer.facts.first() {
        // The last value, and not the database's.
        _ if answer.origin == Origin::Stale => None,
        Some((_, Seen::Row { version, .. })) => Some(*version),
        _ => None,
    }
}

/// What a row's answer shows of it.
fn seen(version: u64, text: &str) -> Seen {
    Seen::Row {
        version,
        collection: HERE,
        content: content(text),
    }
}

/// What a comment shows of its author.
fn signature(stage: &Stage, author: &str, name: &str) -> Option<(Place, Seen)> {
    let row = stage.person(author)?;
    match content(name) {
        Content::Of(version) => Some((row.place, seen(version, name))),
        _ => Some((row.place, Seen::Absent)),
    }
}

fn content(text: &str) -> Content {
    let version = text
        .strip_prefix('v')
        .and_then(|number| number.parse().ok());
    version.map_or(Content::Silent, Content::Of)
}

fn origin(text: Option<&str>) -> Origin {
    match text {
        Some("l1") => Origin::L1,
        Some("l2") => Origin::L2,
        Some("db") => Origin::Database,
        Some("stale") => Origin::Stale,
        _ => Origin::Unsaid,
    }
}

/// The period of the report that is asked for: nobody buys anything.
const FIRST_DAY: &str = "2026-05-01";
const LAST_DAY: &str = "2026-05-31";

/// The version that a write from this one makes, as its value says.
fn after(from: u64) -> String {
    value(from + 1)
}
