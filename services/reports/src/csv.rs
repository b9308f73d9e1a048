//! Orders from a file of comma-separated values, checked as those of a stream are.
//!
//! ```text
//! id,customer_id,product_id,region,ordered_at,quantity,price_cents
//! o-1,ada,kettle,north,2026-05-31T17:00:00Z,2,1999
//! ```
//!
//! The first line names the columns, in any order. Every line is an order by itself: no value holds
//! a line break, so that a quote which is never closed spoils its own line and no other. What is
//! wrong with a line is told with its number, and the rest is recorded.

use crate::model::{Order, Problem, timestamp};
use crate::store::Store;
use larder_journal::Journal;
use larder_proto::reports::v1 as wire;
use std::io::{self, BufRead, Read as _};

/// The columns, as the first line names them.
const COLUMNS: [&str; 7] = [
    "id",
    "customer_id",
    "product_id",
    "region",
    "ordered_at",
    "quantity",
    "price_cents",
];
/// Orders in one transaction.
const BATCH: usize = 5_000;
/// Bytes of a line; no order is that long.
const MOST_BYTES: usize = 4096;
/// Refused lines that are told one by one.
pub const MOST_REFUSALS: usize = 100;

/// Why a file could not be read to its end. What was recorded before stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("reading line {line}")]
    Read {
        /// The line.
        line: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The first line does not name the columns.
    #[error("line 1 must name the columns {}: {problem}", COLUMNS.join(","))]
    Header {
        /// What is wrong with it.
        problem: String,
    },
    /// The database refused.
    #[error("recording the orders up to line {line}")]
    Write {
        /// The last line of the batch.
        line: u64,
        /// Why.
        #[source]
        source: larder_journal::Error,
    },
}

/// What became of a file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Imported {
    /// Orders that were recorded.
    pub recorded: u64,
    /// Orders that were known already, by their ids.
    pub known: u64,
    /// Lines that are no orders.
    pub refused: u64,
    /// The first of them, at most [`MOST_REFUSALS`].
    pub refusals: Vec<Refusal>,
}

/// A line that is no order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Its number, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: String,
}

/// Records the orders of a file, and says after each batch how many bytes of it have been read.
pub async fn import(
    journal: &Journal,
    file: impl BufRead,
    mut progress: impl FnMut(u64),
) -> Result<Imported, Error> {
    let store = Store::new(journal);
    let mut lines = Lines::begin(file)?;
    let mut imported = Imported::default();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let next = lines.next()?;
        match &next {
            Some(Ok(order)) => batch.push(order.clone()),
            Some(Err(problem)) => {
                imported.refused += 1;
                if imported.refusals.len() < MOST_REFUSALS {
                    let (line, problem) = (lines.number, problem.clone());
                    imported.refusals.push(Refusal { line, problem });
                }
            }
            None => {}
        }
        if batch.len() == BATCH || next.is_none() {
            let line = lines.number;
            let recorded = store.record(&batch).await;
            let (recorded, _) = recorded.map_err(|source| Error::Write { line, source })?;
            imported.recorded += recorded;
            imported.known += batch.len() as u64 - recorded;
            batch.clear();
            progress(lines.bytes);
        }
        if next.is_none() {
            return Ok(imported);
        }
    }
}

/// See [`crate::fuzzed`].
pub(crate) fn tried(bytes: &[u8]) {
    if let Ok(mut lines) = Lines::begin(bytes) {
        while let Ok(Some(_)) = lines.next() {}
    }
}

/// The lines of a file behind the first.
struct Lines<R> {
    file: R,
    /// The place of each of [`COLUMNS`] in a line.
    places: [usize; COLUMNS.len()],
    /// The number of the line read last.
    number: u64,
    bytes: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn begin(file: R) -> Result<Self, Error> {
        let mut lines = Self {
            file,
            places: [0; COLUMNS.len()],
            number: 0,
            bytes: 0,
            line: Vec::new(),
        };
        let wrong = |problem: String| Error::Header { problem };
        let header = match lines.read()? {
            Some(Ok(line)) => line.trim_start_matches('\u{feff}').to_owned(),
            Some(Err(problem)) => return Err(wrong(problem)),
            None => return Err(wrong("the file is empty".to_owned())),
        };
        let names = values(&header).map_err(|problem| wrong(problem.to_owned()))?;
        if let Some(name) = names.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
            return Err(wrong(format!("{name:?} is none of them")));
        }
        for (place, column) in lines.places.iter_mut().zip(COLUMNS) {
            let mut named = names.iter().enumerate().filter(|(_, name)| *name == column);
            *place = match (named.next(), named.next()) {
                (Some((place, _)), None) => place,
                (None, _) => return Err(wrong(format!("{column} is missing"))),
                (Some(_), Some(_)) => return Err(wrong(format!("{column} comes twice"))),
            };
        }
        Ok(lines)
    }

    /// The next order, or what is wrong with its line; lines without a character are passed over.
    fn next(&mut self) -> Result<Option<Result<Order, String>>, Error> {
        loop {
            let places = self.places;
            match self.read()? {
                None => return Ok(None),
                Some(Ok("")) => {}
                Some(Ok(line)) => return Ok(Some(order(line, &places))),
                Some(Err(problem)) => return Ok(Some(Err(problem))),
            }
        }
    }

    /// The next line as it stands there, without its end, or why it is no text of an order.
    fn read(&mut self) -> Result<Option<Result<&str, String>>, Error> {
        self.number += 1;
        let line = self.number;
        let failed = |source| Error::Read { line, source };
        self.line.clear();
        let mut most = self.file.by_ref().take(MOST_BYTES as u64);
        let read = most.read_until(b'\n', &mut self.line).map_err(failed)?;
        self.bytes += read as u64;
        if read == 0 {
            self.number -= 1;
            return Ok(None);
        }
        if read == MOST_BYTES && self.line.last() != Some(&b'\n') {
            self.skip().map_err(failed)?;
            return Ok(Some(Err(format!("is longer than {MOST_BYTES} bytes"))));
        }
        let text = std::str::from_utf8(&self.line);
        let text = text.map(|text| text.trim_end_matches(['\n', '\r']));
        Ok(Some(text.map_err(|_| "is no UTF-8".to_owned())))
    }

    /// Passes over the rest of a line.
    fn skip(&mut self) -> io::Result<()> {
        loop {
            let some = self.file.fill_buf()?;
            let end = some.iter().position(|&byte| byte == b'\n');
            let (read, ended) = match end {
                Some(end) => (end + 1, true),
                None => (some.len(), some.is_empty()),
            };
            self.file.consume(read);
            self.bytes += read as u64;
            if ended {
                return Ok(());
            }
        }
    }
}

/// The order on a line, whose values are at these places.
fn order(line: &str, places: &[usize; COLUMNS.len()]) -> Result<Order, String> {
    let values = values(line)?;
    if values.len() != COLUMNS.len() {
        let (found, wanted) = (values.len(), COLUMNS.len());
        return Err(format!("has {found} values, not {wanted}"));
    }
    let [
        id,
        customer_id,
        product_id,
        region,
        ordered_at,
        quantity,
        price_cents,
    ] = places.map(|place| values[place].clone());
    let told = |problem: Problem| problem.to_string();
    let order = wire::Order {
        id,
        customer_id,
        product_id,
        region,
        ordered_at: Some(moment(&ordered_at).map_err(told)?),
        quantity: number("quantity", &quantity).map_err(told)?,
        price_cents: number("price_cents", &price_cents).map_err(told)?,
    };
    Order::check(&order).map_err(told)
}

fn moment(text: &str) -> Result<prost_types::Timestamp, Problem> {
    let moment = text.parse::<jiff::Timestamp>();
    let moment = moment.map(|moment| timestamp(moment.as_microsecond()));
    moment.map_err(|_| Problem::of("ordered_at", "must be a time like 2026-05-31T17:00:00Z"))
}

fn number(field: &'static str, text: &str) -> Result<i64, Problem> {
    let number = text.parse();
    number.map_err(|_| Problem::of(field, "must be a whole number"))
}

/// The values of a line: bare, or in quotes, which are doubled within.
fn values(line: &str) -> Result<Vec<String>, &'static str> {
    let mut values = Vec::with_capacity(COLUMNS.len());
    let mut rest = line;
    loop {
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        values.push(value);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(values),
            None => return Err("has something between a closing quote and a comma"),
        }
    }
}

/// What stands before the closing quote, and what comes after it.
fn unquote(quoted: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('"').ok_or("has a quote that is never closed")?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Ok((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "id,customer_id,product_id,region,ordered_at,quantity,price_cents\n";

    /// The lines behind the first, by their numbers.
    type Read = Vec<(u64, Result<Order, String>)>;

    fn read(text: &[u8]) -> Result<Read, Error> {
        let mut lines = Lines::begin(text)?;
        let mut all = Vec::new();
        while let Some(next) = lines.next()? {
            all.push((lines.number, next));
        }
        assert_eq!(lines.bytes, text.len() as u64);
        Ok(all)
    }

    #[test]
    fn a_line_that_is_no_order_spoils_no_other() {
        let long = "x".repeat(3 * MOST_BYTES);
        let lines = [
            "o-2,ada,kettle,north,2026-05-31T17:00:00Z,2,1999",
            "o-3,ada,\"kettle,north,2026-05-31T17:00:00Z,2,1999",
            "",
            "o-5,ada,kettle,mars,2026-05-31T17:00:00Z,2,1999",
            "o-6,ada,kettle,north,yesterday,2,1999",
            "o-7,ada,kettle,north,2026-05-31T17:00:00Z,two,1999",
            "o-8,ada,kettle,north,2026-05-31T17:00:00Z,2",
            "\"o-9\" ,ada,kettle,north,2026-05-31T17:00:00Z,2,1999",
            long.as_str(),
            "\"o-11\",\"ada\",kettle,north,2026-05-31T19:00:00+02:00,2,1999\r",
        ];
        let mut text = (HEADER.to_owned() + &lines.join("\n")).into_bytes();
        text.extend(b"\n\xff,ada,kettle,north,2026-05-31T17:00:00Z,2,1999\n");
        let read = read(&text).expect("a file");
        let orders = read.iter().filter_map(|(line, order)| {
            let order = order.as_ref().ok()?;
            Some((*line, order.id.as_str(), order.ordered_at))
        });
        let moment = 1_780_246_800_000_000;
        assert_eq!(
            orders.collect::<Vec<_>>(),
            [(2, "o-2", moment), (11, "o-11", moment)]
        );
        let problems = read
            .iter()
            .filter_map(|(line, order)| Some((*line, order.as_ref().err()?.as_str())));
        let expected = [
            (3, "has a quote that is never closed"),
            (
                5,
                "region: is no region: there are central, east, north, south, west",
            ),
            (6, "ordered_at: must be a time like 2026-05-31T17:00:00Z"),
            (7, "quantity: must be a whole number"),
            (8, "has 6 values, not 7"),
            (9, "has something between a closing quote and a comma"),
            (10, "is longer than 4096 bytes"),
            (12, "is no UTF-8"),
        ];
        assert_eq!(problems.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn columns_may_come_in_any_order_and_each_must_come_once() {
        let text = "\u{feff}price_cents,quantity,ordered_at,region,product_id,customer_id,id\r\n\
            1,2,2026-05-31T17:00:00Z,west,kettle,ada,o-1";
        let orders = read(text.as_bytes()).expect("a file");
        let order = orders[0].1.as_ref().expect("an order");
        assert_eq!((order.id.as_str(), order.price_cents), ("o-1", 1));
        for (header, problem) in [
            ("", "the file is empty"),
            ("id,customer_id\n", "product_id is missing"),
            (
                &HEADER.replace("quantity", "amount"),
                "\"amount\" is none of them",
            ),
            (&HEADER.replace("quantity", "id"), "id comes twice"),
        ] {
            let error = read(header.as_bytes()).expect_err("no header").to_string();
            assert!(error.ends_with(problem), "{error}");
        }
    }

    #[test]
    fn values_are_bare_or_quoted() {
        assert_eq!(
            values("a,,\"b\",\"c,\"\"d\"\"\","),
            Ok(vec![
                "a".to_owned(),
                String::new(),
                "b".to_owned(),
                "c,\"d\"".to_owned(),
                String::new(),
            ])
        );
    }
}
