//! Planted violations are found, and a register that keeps its word is never accused.

use super::*;
use proptest::prelude::*;

const BOUND: Duration = Duration::from_secs(1);
const HERE: Collection = Collection(1);
const THERE: Collection = Collection(2);

const fn at(millis: u64) -> Moment {
    Duration::from_millis(millis)
}

fn history() -> History {
    History::new(BOUND, ["row"])
}

fn read(invoked: u64) -> Read {
    Read {
        what: "read",
        session: 0,
        process: 0,
        invoked: at(invoked),
        returned: at(invoked + 1),
        origin: Origin::L1,
        age: None,
        shown: Vec::new(),
    }
}

fn row(version: u64) -> Seen {
    Seen::Row {
        version,
        collection: HERE,
        content: Content::Of(version),
    }
}

/// A write that takes a millisecond, and returns then.
fn write(history: &History, returned: u64, state: State) {
    let collection = if state.is_absence() { NOWHERE } else { HERE };
    write_into(history, returned, state, collection);
}

fn write_into(history: &History, returned: u64, state: State, collection: Collection) {
    let place = history.place(0);
    history.attempt(place, at(returned - 1), state, collection);
    history.wrote(place, at(returned - 1), at(returned), (state, collection));
}

fn found(history: &History, read: &Read, seen: Seen) -> Option<Kind> {
    let before = history.violations().len();
    history.read(read, &[(history.place(0), seen)]);
    history
        .violations()
        .get(before)
        .map(|violation| violation.kind)
}

fn versions(history: &History) {
    write(history, 10, State::version(1));
    write(history, 20, State::version(2));
}

#[test]
fn an_unmarked_answer_older_than_the_bound_is_found() {
    let history = history();
    versions(&history);
    assert_eq!(found(&history, &read(1020), row(1)), None);
    assert_eq!(found(&history, &read(1021), row(1)), Some(Kind::Stale));
    assert_eq!(found(&history, &read(1021), row(2)), None);
    let marked = Read {
        origin: Origin::Stale,
        ..read(5000)
    };
    assert_eq!(found(&history, &marked, row(1)), None);
    assert_eq!(history.take_tally().violations, 1);
}

#[test]
fn a_report_shows_the_write_that_was_not_reflected() {
    let history = history();
    versions(&history);
    found(&history, &read(2000), row(1));
    let report = history.violations()[0].to_string();
    assert!(
        report.contains("version 2 was known since 20.000 ms"),
        "{report}"
    );
    assert!(report.contains("1980.000 ms behind"), "{report}");
}

#[test]
fn what_a_read_returned_is_known_though_its_write_never_returned() {
    let history = history();
    write(&history, 10, State::version(1));
    history.attempt(history.place(0), at(20), State::version(2), HERE);
    assert_eq!(found(&history, &read(5000), row(1)), None);
    assert_eq!(found(&history, &read(6000), row(2)), None);
    assert_eq!(found(&history, &read(7001), row(1)), None);
    let other = Read {
        session: 1,
        ..read(7002)
    };
    assert_eq!(found(&history, &other, row(1)), Some(Kind::Stale));
}

#[test]
fn a_later_writes_return_makes_an_earlier_one_known() {
    let history = history();
    write(&history, 10, State::version(1));
    history.attempt(history.place(0), at(20), State::version(2), HERE);
    write(&history, 30, State::version(3));
    assert_eq!(found(&history, &read(1040), row(2)), Some(Kind::Stale));
    assert_eq!(found(&history, &read(1040), row(1)), Some(Kind::Stale));
}

#[test]
fn a_write_of_unknown_outcome_may_have_happened_or_not() {
    let history = history();
    write(&history, 10, State::version(1));
    history.attempt(history.place(0), at(20), State::deleted(1), NOWHERE);
    assert_eq!(found(&history, &read(4000), row(1)), None);
    assert_eq!(found(&history, &read(4000), Seen::Absent), None);
}

#[test]
fn of_two_writes_that_would_make_one_state_either_may_have() {
    for (collection, other) in [(HERE, THERE), (THERE, HERE)] {
        let history = history();
        write(&history, 10, State::version(1));
        let place = history.place(0);
        history.attempt(place, at(20), State::version(2), HERE);
        history.attempt(place, at(5000), State::version(2), THERE);
        let seen = |collection| Seen::Row {
            version: 2,
            collection,
            content: Content::Of(2),
        };
        assert_eq!(found(&history, &read(6000), seen(collection)), None);
        assert_eq!(
            found(&history, &read(6001), seen(other)),
            Some(Kind::Garbled)
        );
    }
}

#[test]
fn a_write_that_did_not_happen_does_not_say_where_the_row_is() {
    let history = history();
    write(&history, 10, State::version(1));
    let place = history.place(0);
    history.attempt(place, at(20), State::version(2), THERE);
    history.wrote(place, at(30), at(40), (State::version(2), HERE));
    assert_eq!(found(&history, &read(50), row(2)), None);
    assert_eq!(found(&history, &read(5000), Seen::Outside(THERE)), None);
}

#[test]
fn an_absence_before_its_delete_was_invoked_is_no_sight_of_it() {
    let history = history();
    write(&history, 10, State::version(1));
    assert_eq!(
        found(&history, &read(2000), Seen::Absent),
        Some(Kind::Missing)
    );
    history.attempt(history.place(0), at(3000), State::deleted(1), NOWHERE);
    assert_eq!(
        found(&history, &read(2990), Seen::Absent),
        Some(Kind::Missing)
    );
    assert_eq!(found(&history, &read(2999), Seen::Absent), None);
}

#[test]
fn an_answer_older_than_it_says_is_found_within_any_bound_and_though_marked() {
    for origin in [Origin::L1, Origin::Stale] {
        let history = history();
        versions(&history);
        let told = |millis| Read {
            age: Some(at(millis)),
            origin,
            ..read(50)
        };
        assert_eq!(found(&history, &told(30), row(1)), None);
        assert_eq!(
            found(&history, &told(29), row(1)),
            Some(Kind::OlderThanTold)
        );
    }
}

#[test]
fn a_token_that_is_not_honoured_is_found_at_once() {
    let history = history();
    versions(&history);
    let shown = Read {
        shown: vec![(history.place(0), State::version(2))],
        ..read(21)
    };
    assert_eq!(found(&history, &shown, row(1)), Some(Kind::Token));
    assert_eq!(found(&history, &shown, row(2)), None);
    assert_eq!(found(&history, &read(21), row(1)), None);
}

#[test]
fn a_session_that_goes_back_by_more_than_the_bound_is_found() {
    let history = history();
    versions(&history);
    assert_eq!(found(&history, &read(30), row(2)), None);
    assert_eq!(found(&history, &read(900), row(1)), None);
    assert_eq!(found(&history, &read(1100), row(1)), Some(Kind::WentBack));
}

#[test]
fn a_deleted_row_that_returns_is_found() {
    let history = history();
    write(&history, 10, State::version(1));
    write(&history, 20, State::deleted(1));
    assert_eq!(found(&history, &read(1000), row(1)), None);
    assert_eq!(found(&history, &read(1021), row(1)), Some(Kind::Returned));
    assert_eq!(found(&history, &read(1021), Seen::Absent), None);
}

#[test]
fn a_new_row_that_stays_absent_is_found() {
    let history = history();
    write(&history, 10, State::version(1));
    assert_eq!(found(&history, &read(1000), Seen::Absent), None);
    assert_eq!(
        found(&history, &read(1011), Seen::Absent),
        Some(Kind::Missing)
    );
}

#[test]
fn a_row_that_moved_and_is_missing_from_where_it_went_is_found() {
    let history = history();
    write_into(&history, 10, State::version(1), HERE);
    write_into(&history, 20, State::version(2), THERE);
    assert_eq!(found(&history, &read(5000), Seen::Outside(HERE)), None);
    assert_eq!(found(&history, &read(1000), Seen::Outside(THERE)), None);
    assert_eq!(
        found(&history, &read(1021), Seen::Outside(THERE)),
        Some(Kind::Stale)
    );
    // In a list, and of a version that was never in it.
    assert_eq!(found(&history, &read(21), row(2)), Some(Kind::Garbled));
}

#[test]
fn an_aborted_value_and_a_value_of_another_version_are_found() {
    let history = history();
    write(&history, 10, State::version(1));
    let with = |content| Seen::Row {
        version: 1,
        collection: HERE,
        content,
    };
    assert_eq!(
        found(&history, &read(20), with(Content::Aborted)),
        Some(Kind::Aborted)
    );
    assert_eq!(
        found(&history, &read(20), with(Content::Of(2))),
        Some(Kind::Garbled)
    );
    assert_eq!(found(&history, &read(20), with(Content::Silent)), None);
}

#[test]
fn an_acknowledged_write_that_is_missing_in_the_end_is_found() {
    for (acknowledged, held) in [
        (State::version(2), Some((1, HERE))),
        (State::version(2), None),
        (State::deleted(1), Some((1, HERE))),
    ] {
        let history = history();
        write(&history, 10, State::version(1));
        write(&history, 20, acknowledged);
        history.at_end(history.place(0), at(50), held);
        let kinds: Vec<_> = history.violations().iter().map(|v| v.kind).collect();
        assert_eq!(kinds, [Kind::Lost], "{acknowledged} {held:?}");
    }
    let history = history();
    versions(&history);
    history.at_end(history.place(0), at(50), Some((2, HERE)));
    assert!(history.violations().is_empty());
}

#[test]
fn a_copy_that_differs_from_the_database_in_the_end_is_found() {
    let history = history();
    versions(&history);
    history.at_end(history.place(0), at(50), Some((2, HERE)));
    assert_eq!(found(&history, &read(60), row(2)), None);
    assert_eq!(found(&history, &read(60), row(1)), Some(Kind::Differs));
    assert_eq!(found(&history, &read(60), row(3)), Some(Kind::Differs));
}

#[test]
fn a_share_from_the_cache_that_is_too_low_is_found() {
    let history = history();
    write(&history, 10, State::version(1));
    for origin in [Origin::L1, Origin::Database, Origin::Database] {
        let read = Read { origin, ..read(20) };
        assert_eq!(found(&history, &read, row(1)), None);
    }
    let tally = history.take_tally();
    history.require_share(&tally, 0.3);
    assert!(history.violations().is_empty());
    history.require_share(&tally, 0.5);
    assert_eq!(history.violations()[0].kind, Kind::ShareTooLow);
}

#[test]
fn a_long_history_is_forgotten_and_still_judged() {
    let history = history();
    for version in 1..10_000 {
        write(&history, 100 * version, State::version(version));
    }
    assert!(history.row(history.place(0)).kept() < 2000);
    assert_eq!(found(&history, &read(1_000_000), row(9)), Some(Kind::Stale));
    assert_eq!(found(&history, &read(1_000_000), row(9999)), None);
}

/// A register that keeps its word: writes take effect between invocation and return, and a read
/// shows what was there at a moment no more than Δ before its invocation.
#[derive(Clone, Debug)]
enum Step {
    Update { spent: u64, lands: u64, told: bool },
    Delete { spent: u64, lands: u64, told: bool },
    Read { old: u64, spent: u64 },
    Pause(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let effect = (2..50_u64, 0..50_u64, any::<bool>());
    prop_oneof![
        effect
            .clone()
            .prop_map(|(spent, lands, told)| Step::Update {
                spent,
                lands: lands % spent,
                told
            }),
        effect.prop_map(|(spent, lands, told)| Step::Delete {
            spent,
            lands: lands % spent,
            told
        }),
        (0..=1000_u64, 1..20_u64).prop_map(|(old, spent)| Step::Read { old, spent }),
        (0..900_u64).prop_map(Step::Pause),
    ]
}

/// What the register held from when on.
type Truth = Vec<(u64, State, Collection)>;

fn at_time(truth: &Truth, time: u64) -> (State, Collection) {
    let entry = truth.iter().rev().find(|(since, ..)| *since <= time);
    entry.map_or((State::NEVER, NOWHERE), |(_, state, collection)| {
        (*state, *collection)
    })
}

fn change(history: &History, truth: &mut Truth, now: u64, step: &Step) -> u64 {
    let (now_state, _) = at_time(truth, now);
    let version = now_state.0 / 2;
    let ((Step::Update { spent, lands, told }, next) | (Step::Delete { spent, lands, told }, next)) = (
        step,
        match step {
            Step::Update { .. } => Some((
                State::version(version + 1),
                Collection(1 + (version % 2) as u16),
            )),
            _ => (!now_state.is_absence()).then_some((State::deleted(version), NOWHERE)),
        },
    ) else {
        return now;
    };
    let Some((state, collection)) = next else {
        return now;
    };
    history.attempt(history.place(0), at(now), state, collection);
    truth.push((now + lands, state, collection));
    if *told {
        history.wrote(
            history.place(0),
            at(now),
            at(now + spent),
            (state, collection),
        );
    }
    now + spent
}

fn look(history: &History, truth: &Truth, now: u64, old: u64, spent: u64) {
    let (state, collection) = at_time(truth, now.saturating_sub(old));
    let seen = match state.is_absence() {
        true => Seen::Absent,
        false => Seen::Row {
            version: state.0 / 2,
            collection,
            content: Content::Of(state.0 / 2),
        },
    };
    let listed = if collection == HERE {
        seen
    } else {
        Seen::Outside(HERE)
    };
    for seen in [seen, listed] {
        let read = Read {
            returned: at(now + spent),
            age: Some(at(old)),
            ..read(now)
        };
        history.read(&read, &[(history.place(0), seen)]);
    }
}

proptest! {
    #[test]
    fn a_register_that_keeps_its_word_is_never_accused(steps in prop::collection::vec(step(), 1..200)) {
        let (history, mut truth, mut now) = (history(), Truth::new(), 1);
        for step in &steps {
            match *step {
                Step::Pause(span) => now += span,
                Step::Read { old, spent } => {
                    look(&history, &truth, now, old, spent);
                    now += spent;
                }
                _ => now = change(&history, &mut truth, now, step),
            }
        }
        let held = match at_time(&truth, now) {
            (state, _) if state.is_absence() => None,
            (state, collection) => Some((state.0 / 2, collection)),
        };
        history.at_end(history.place(0), at(now), held);
        let found = history.violations();
        prop_assert!(found.is_empty(), "{}", found[0]);
    }
}
