//! One key in every replica's memory, in the remote tier and in the source.

use crate::{Answers, Error, Failure, Replicas, Way, seconds};
use larder_proto::cache::v1 as wire;
use larder_proto::cache::v1::InspectRequest;
use serde::Serialize;
use std::fmt;

/// A key wherever it may be.
#[derive(Serialize, Clone, Debug)]
pub struct Seen {
    /// Its keyspace.
    pub keyspace: String,
    /// Its text.
    pub key: String,
    /// Every copy, memory first and the source last.
    pub places: Vec<Place>,
    /// Whether all that would be served agree with the source; absent where it was not asked.
    pub consistent: Option<bool>,
    /// Who did not answer.
    pub failures: Vec<Failure>,
}

/// One copy, or why there is none.
#[derive(Serialize, Clone, Default, Debug)]
pub struct Place {
    /// `l1`, `l2` or `source`.
    pub place: &'static str,
    /// Who says so.
    pub replica: String,
    /// `served` or why not; `not there`; or what went wrong.
    pub verdict: String,
    /// Whether there is a value; absent where there is no copy.
    pub found: Option<bool>,
    /// The version that the value carries.
    pub version: Option<u64>,
    /// A hash of the value.
    pub fingerprint: Option<String>,
    /// How long the value is, encoded.
    pub bytes: Option<u64>,
    /// How far behind its source it can be, at most.
    pub age_seconds: Option<f64>,
    /// Until it is renewed.
    pub soft_left_seconds: Option<f64>,
    /// Until it is never served.
    pub hard_left_seconds: Option<f64>,
    /// Until the remote tier drops it.
    pub ttl_seconds: Option<f64>,
    /// How long the source took.
    pub took_seconds: Option<f64>,
    /// What it says it reflects.
    pub label: Option<String>,
    /// Its name in the remote tier.
    pub name: Option<String>,
}

impl Place {
    fn missing(place: &'static str, replica: &str, error: &str) -> Self {
        Self {
            place,
            replica: replica.to_owned(),
            verdict: match error.is_empty() {
                true => "not there".to_owned(),
                false => error.to_owned(),
            },
            ..Self::default()
        }
    }

    fn says(&mut self, value: Option<wire::ValueSummary>) {
        if let Some(value) = value {
            self.found = Some(value.found);
            self.version = value.version;
            self.fingerprint = Some(format!("{:016x}", value.fingerprint));
            self.bytes = Some(value.bytes);
        }
    }

    fn all(replica: &str, seen: wire::InspectResponse, source: bool) -> Vec<Self> {
        let missing = |place, error: &str| Self::missing(place, replica, error);
        let l1 = seen
            .l1
            .map_or_else(|| missing("l1", ""), |copy| Self::l1(replica, copy));
        let l2 = seen.l2.map_or_else(
            || missing("l2", &seen.l2_error),
            |copy| Self::l2(replica, copy),
        );
        let mut places = vec![l1, l2];
        if source {
            let error = || missing("source", &seen.source_error);
            places.push(
                seen.from_source
                    .map_or_else(error, |copy| Self::source(replica, copy)),
            );
        }
        places
    }

    fn l1(replica: &str, copy: wire::MemoryCopy) -> Self {
        let mut place = Self {
            place: "l1",
            replica: replica.to_owned(),
            verdict: copy.verdict,
            age_seconds: Some(seconds(copy.age.as_ref())),
            soft_left_seconds: Some(seconds(copy.soft_left.as_ref())),
            hard_left_seconds: Some(seconds(copy.hard_left.as_ref())),
            label: copy.label_xmin.map(|xmin| format!("xmin {xmin}")),
            ..Self::default()
        };
        place.says(copy.value);
        place
    }

    fn l2(replica: &str, copy: wire::RemoteCopy) -> Self {
        let mut place = Self {
            place: "l2",
            replica: replica.to_owned(),
            verdict: copy.verdict,
            soft_left_seconds: Some(seconds(copy.soft_left.as_ref())),
            hard_left_seconds: Some(seconds(copy.hard_left.as_ref())),
            ttl_seconds: copy.ttl.as_ref().map(|ttl| seconds(Some(ttl))),
            label: label(copy.label),
            name: Some(copy.name),
            ..Self::default()
        };
        place.says(copy.value);
        place
    }

    fn source(replica: &str, copy: wire::SourceCopy) -> Self {
        let mut place = Self {
            place: "source",
            replica: replica.to_owned(),
            verdict: "loaded".to_owned(),
            took_seconds: Some(seconds(copy.took.as_ref())),
            label: label(copy.label),
            ..Self::default()
        };
        place.says(copy.value);
        place
    }

    /// What the copy says, to be compared.
    fn value(&self) -> Option<(bool, &str)> {
        Some((self.found?, self.fingerprint.as_deref()?))
    }
}

fn label(label: Option<wire::Label>) -> Option<String> {
    let snapshot = label?.snapshot?;
    let open = snapshot.in_progress.len();
    Some(format!("{}:{} ({open} open)", snapshot.xmin, snapshot.xmax))
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keyspace, key) = (&self.keyspace, &self.key);
        writeln!(f, "{keyspace}: {key}")?;
        writeln!(
            f,
            "{:<7} {:<12} {:<16} {:>8} {:<17} {:>9} {:>8} {:>9} {:>9} {:>9}",
            "place",
            "replica",
            "verdict",
            "version",
            "fingerprint",
            "bytes",
            "age",
            "soft",
            "hard",
            "ttl"
        )?;
        for place in &self.places {
            let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let span = |span: Option<f64>| or(span.map(|span| format!("{span:.1}s")));
            let fingerprint = match place.found {
                Some(false) => "absent".to_owned(),
                _ => or(place.fingerprint.clone()),
            };
            writeln!(
                f,
                "{:<7} {:<12} {:<16} {:>8} {fingerprint:<17} {:>9} {:>8} {:>9} {:>9} {:>9}",
                place.place,
                place.replica,
                place.verdict,
                or(place.version.map(|version| version.to_string())),
                or(place.bytes.map(|bytes| bytes.to_string())),
                span(place.age_seconds),
                span(place.soft_left_seconds),
                span(place.hard_left_seconds),
                span(place.ttl_seconds),
            )?;
        }
        match self.consistent {
            Some(true) => writeln!(f, "what would be served says what the source says"),
            Some(false) => writeln!(
                f,
                "what would be served differs from the source; that may be a write of just now: \
                 `larder cache check {keyspace}` tells"
            ),
            None => Ok(()),
        }
    }
}

impl Replicas {
    /// Looks at a key wherever it may be. The source is asked unless it is to be skipped, since to
    /// load from it may be costly.
    pub async fn inspect(
        &self,
        keyspace: &str,
        key: &str,
        skip_source: bool,
    ) -> Result<Seen, Error> {
        let (holders, _) = self.with(keyspace).await?;
        let request = InspectRequest {
            keyspace: keyspace.to_owned(),
            key: key.to_owned(),
            skip_source,
        };
        let inspect = |mut client: Way| {
            let request = request.clone();
            async move { client.inspect(request).await }
        };
        let Answers { answers, failures } = holders.ask(inspect).await.whole()?;
        let places = answers
            .into_iter()
            .flat_map(|(replica, seen)| Place::all(&replica, seen, !skip_source));
        let mut places: Vec<Place> = places.collect();
        // All replicas of one service see the same remote tier and the same source.
        let order = |place: &Place| {
            ["l1", "l2", "source"]
                .iter()
                .position(|p| *p == place.place)
        };
        places.sort_by_key(order);
        let source = places.iter().find(|place| place.place == "source");
        let actual = source.and_then(Place::value);
        let consistent = actual.map(|actual| {
            let mut served = places.iter().filter(|place| place.verdict == "served");
            served.all(|place| place.value() == Some(actual))
        });
        Ok(Seen {
            keyspace: request.keyspace,
            key: request.key,
            places,
            consistent,
            failures,
        })
    }
}
