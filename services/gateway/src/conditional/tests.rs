use super::*;
use axum::http::header;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
const THEN: Duration = Duration::from_secs(784_111_777);
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn tag(opaque: &str) -> Etag {
    Etag {
        opaque: opaque.to_owned(),
    }
}

fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header");
        headers.append(name, value);
    }
    headers
}

/// Of a representation with the tag `"a"`, last changed `THEN`.
fn judged(method: &Method, lines: &[(HeaderName, &str)]) -> Outcome {
    let etag = tag("a");
    let modified = Some(Modified::Known(UNIX_EPOCH + THEN));
    let validators = Validators {
        etag: &etag,
        modified,
    };
    validators.judge(method, &headers(lines))
}

fn got(lines: &[(HeaderName, &str)]) -> Outcome {
    judged(&Method::GET, lines)
}

#[test]
fn without_conditions_everything_is_sent() {
    assert_eq!(got(&[]), Outcome::Proceed);
    assert_eq!(got(&[(header::ACCEPT, "\"a\"")]), Outcome::Proceed);
}

#[test]
fn a_copy_with_the_tag_is_confirmed_however_it_is_listed() {
    for listed in [
        "\"a\"",
        "W/\"a\"",
        "*",
        " * ",
        "\"b\", \"a\"",
        "\"b\",\"a\",\"c\"",
        ",, \"b\" ,\t W/\"a\" ,",
        "\"with,comma\", \"a\"",
    ] {
        let outcome = got(&[(IF_NONE_MATCH, listed)]);
        assert_eq!(outcome, Outcome::NotModified, "{listed}");
    }
    let lines = [(IF_NONE_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")];
    assert_eq!(got(&lines), Outcome::NotModified, "in two lines");
}

#[test]
fn a_copy_with_another_tag_or_none_that_can_be_read_is_sent_anew() {
    for listed in [
        "\"b\"",
        "\"A\"",
        "\"a",
        "a",
        "",
        "w/\"a\"",
        "\"b, \"a\"",
        "\"a\"b",
        "\"x\"\"a\"",
        "W/ \"a\"",
        "\"b\", *",
        "\"b c\", \"a\"",
        "\"a-gzip\"",
    ] {
        let outcome = got(&[(IF_NONE_MATCH, listed)]);
        assert_eq!(outcome, Outcome::Proceed, "{listed}");
    }
}

#[test]
fn a_head_is_confirmed_like_a_get_and_a_write_is_refused() {
    let lines = [(IF_NONE_MATCH, "\"a\"")];
    assert_eq!(judged(&Method::HEAD, &lines), Outcome::NotModified);
    assert_eq!(judged(&Method::PUT, &lines), Outcome::Failed);
    let any = [(IF_NONE_MATCH, "*")];
    assert_eq!(judged(&Method::POST, &any), Outcome::Failed);
    let other = [(IF_NONE_MATCH, "\"b\"")];
    assert_eq!(judged(&Method::PUT, &other), Outcome::Proceed);
}

#[test]
fn a_time_that_the_data_knows_confirms_copies_of_it_and_later() {
    for (copy, outcome) in [
        (DATE, Outcome::NotModified),
        (AFTER, Outcome::NotModified),
        (BEFORE, Outcome::Proceed),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Outcome::NotModified),
        ("Sun Nov  6 08:49:37 1994", Outcome::NotModified),
        ("yesterday", Outcome::Proceed),
        ("", Outcome::Proceed),
    ] {
        assert_eq!(got(&[(IF_MODIFIED_SINCE, copy)]), outcome, "{copy}");
    }
    let twice = [(IF_MODIFIED_SINCE, DATE), (IF_MODIFIED_SINCE, DATE)];
    assert_eq!(got(&twice), Outcome::Proceed, "it is no list");
    let write = judged(&Method::PUT, &[(IF_MODIFIED_SINCE, DATE)]);
    assert_eq!(write, Outcome::Proceed, "it is for reads alone");
}

#[test]
fn a_time_that_was_only_seen_confirms_no_copy_but_its_own() {
    let etag = tag("a");
    let part = Duration::from_millis(999);
    let modified = Some(Modified::Seen(UNIX_EPOCH + THEN + part));
    let validators = Validators {
        etag: &etag,
        modified,
    };
    for (copy, outcome) in [
        (DATE, Outcome::NotModified),
        (AFTER, Outcome::Proceed),
        (BEFORE, Outcome::Proceed),
    ] {
        let headers = headers(&[(IF_MODIFIED_SINCE, copy)]);
        assert_eq!(validators.judge(&Method::GET, &headers), outcome, "{copy}");
    }
}

#[test]
fn a_tag_goes_before_a_time() {
    let changed = [(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, AFTER)];
    assert_eq!(got(&changed), Outcome::Proceed);
    let same = [(IF_NONE_MATCH, "\"a\""), (IF_MODIFIED_SINCE, BEFORE)];
    assert_eq!(got(&same), Outcome::NotModified);
    let unreadable = [(IF_NONE_MATCH, "a"), (IF_MODIFIED_SINCE, AFTER)];
    assert_eq!(got(&unreadable), Outcome::Proceed);
    let matched = [(IF_MATCH, "\"a\""), (IF_UNMODIFIED_SINCE, BEFORE)];
    assert_eq!(got(&matched), Outcome::Proceed);
}

#[test]
fn who_expects_another_state_is_refused() {
    for (listed, outcome) in [
        ("\"a\"", Outcome::Proceed),
        ("*", Outcome::Proceed),
        ("\"b\", \"a\"", Outcome::Proceed),
        ("\"b\"", Outcome::Failed),
        ("W/\"a\"", Outcome::Failed),
        ("a", Outcome::Failed),
    ] {
        assert_eq!(got(&[(IF_MATCH, listed)]), outcome, "{listed}");
        let write = judged(&Method::PUT, &[(IF_MATCH, listed)]);
        assert_eq!(write, outcome, "{listed}");
    }
    for (date, outcome) in [
        (BEFORE, Outcome::Failed),
        (DATE, Outcome::Proceed),
        (AFTER, Outcome::Proceed),
        ("whenever", Outcome::Proceed),
    ] {
        assert_eq!(got(&[(IF_UNMODIFIED_SINCE, date)]), outcome, "{date}");
    }
    let both = [(IF_MATCH, "\"a\""), (IF_NONE_MATCH, "\"a\"")];
    assert_eq!(got(&both), Outcome::NotModified, "each is judged");
}

#[test]
fn without_a_time_a_time_confirms_and_refuses_nothing() {
    let etag = tag("a");
    let validators = Validators {
        etag: &etag,
        modified: None,
    };
    for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        let headers = headers(&[(name, AFTER)]);
        assert_eq!(validators.judge(&Method::GET, &headers), Outcome::Proceed);
    }
    let mut told = HeaderMap::new();
    validators.put(&mut told);
    assert_eq!(told.get(LAST_MODIFIED), None);
    assert_eq!(told[ETAG], "\"a\"");
}

#[test]
fn a_time_is_told_in_whole_seconds_and_never_in_a_year_of_five_digits() {
    let told = |time| Modified::Known(time).header();
    let part = UNIX_EPOCH + THEN + Duration::from_millis(999);
    assert_eq!(told(part).expect("a date"), DATE);
    assert_eq!(
        told(UNIX_EPOCH + Duration::from_secs(253_402_300_800)),
        None
    );
    let before = UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(
        told(before).expect("a date"),
        "Thu, 01 Jan 1970 00:00:00 GMT"
    );
}

#[test]
fn a_tag_is_of_its_content_and_of_its_coding() {
    let one = Etag::of(&[b"ab", b"c"]);
    assert_eq!(one, Etag::of(&[b"ab", b"c"]));
    assert_ne!(one, Etag::of(&[b"a", b"bc"]), "where a part ends counts");
    assert_ne!(one, Etag::of(&[b"abc"]));
    assert_ne!(one, one.coded("gzip"));
    assert_ne!(one.coded("zstd"), one.coded("gzip"));
    let header = one.coded("gzip").header();
    let line = header.to_str().expect("ASCII");
    assert!(line.starts_with('"') && line.ends_with("-gzip\""), "{line}");
}

proptest::proptest! {
    #[test]
    fn no_field_makes_judging_panic(bytes in proptest::collection::vec(0_u8.., 0..60)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let mut headers = HeaderMap::new();
            for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
                headers.append(name, value.clone());
            }
            let etag = tag("a");
            let modified = Some(Modified::Known(UNIX_EPOCH + THEN));
            Validators { etag: &etag, modified }.judge(&Method::GET, &headers);
        }
    }
}
