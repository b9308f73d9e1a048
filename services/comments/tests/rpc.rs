//! Every method and what it refuses, through a real server, on both engines.

use crate::support;

use anyhow::Result;
use futures_util::future::join_all;
use larder_host::on_both;
use larder_host::trial::{Home, fields, reason, said};
use larder_proto::comments::v1::*;
use std::time::{SystemTime, UNIX_EPOCH};
use support::{House, STRONG, by, note, source, token};
use tonic::{Code, Status};

on_both!(
    a_comment_is_created_read_changed_and_deleted,
    an_id_is_made_where_none_is_given,
    a_version_is_never_used_twice_for_one_id,
    what_is_wrong_with_a_request_is_said_by_its_field,
    what_the_contract_cannot_tell_cannot_be_written_by_hand_either,
    an_id_that_is_taken_is_refused_and_of_many_at_once_one_wins,
    what_is_missing_is_not_found_and_says_where_that_is_known_from,
    a_write_that_expects_another_version_is_aborted,
    only_the_body_is_ever_written_again,
    a_list_goes_through_a_products_comments_newest_first,
    a_page_token_is_good_for_its_own_product_only,
    a_request_that_is_too_large_is_refused,
);

async fn a_comment_is_created_read_changed_and_deleted(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    house.people.create("ada", "Ada").await?;
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|now| now.as_secs() as i64)
    };
    let before = now()?;
    let created = node.create(note("c")).await?;
    let created_at = created.get_ref().created_at.expect("a time");
    assert!(
        (before - 1..=now()? + 1).contains(&created_at.seconds),
        "{created_at}"
    );
    let expected = Comment {
        created_at: Some(created_at),
        version: 1,
        ..note("c")
    };
    assert_eq!(created.get_ref(), &expected);
    assert_eq!(said(created.metadata(), "larder-version"), "1");
    assert_eq!(source(created.metadata()), "db");
    assert!(!token(created.metadata()).is_empty());

    let signed = |comment: &Comment| Comment {
        author_display_name: "Ada".to_owned(),
        ..comment.clone()
    };
    let first = node.get("c").await?;
    assert_eq!(first.get_ref(), &signed(&expected));
    assert_eq!(source(first.metadata()), "db");
    let second = node.get("c").await?;
    assert_eq!(second.get_ref(), first.get_ref());
    assert_eq!(source(second.metadata()), "l1");
    assert_eq!(said(second.metadata(), "larder-version"), "1");
    assert!(said(second.metadata(), "larder-age-ms").parse::<u64>()? <= 1000);

    let change = Comment {
        body: "It broke.".to_owned(),
        ..note("c")
    };
    let changed = node.update(change, Some(&["body"]), Some(1)).await?;
    let expected = Comment {
        body: "It broke.".to_owned(),
        version: 2,
        ..expected
    };
    assert_eq!(changed.get_ref(), &expected);
    assert!(!token(changed.metadata()).is_empty());
    assert_eq!(node.get("c").await?.get_ref(), &signed(&expected));

    let deleted = node.delete("c", Some(2)).await?;
    assert_eq!(deleted.get_ref(), &expected);
    assert_eq!(said(deleted.metadata(), "larder-version"), "2");
    assert_eq!(
        node.get("c").await.expect_err("deleted").code(),
        Code::NotFound
    );
    house.comments.replica.stop().await
}

async fn an_id_is_made_where_none_is_given(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let one = house.comments.create(note("")).await?.into_inner();
    let two = house.comments.create(note("")).await?.into_inner();
    assert_ne!(one.id, two.id);
    assert_eq!(house.comments.get(&one.id).await?.into_inner(), one);
    Ok(())
}

async fn a_version_is_never_used_twice_for_one_id(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let (node, home) = (&house.comments, &house.home);
    let first = node.create(note("c")).await?.into_inner().version;
    home.by_hand(
        "comments",
        "UPDATE comments SET body = 'by hand' WHERE id = 'c'",
    )?;
    let by_hand = node.get_asking("c", &STRONG).await?.into_inner().version;
    assert!(by_hand > first);
    node.delete("c", None).await?;
    let again = node.create(note("c")).await?.into_inner().version;
    assert!(again > by_hand);
    home.by_hand("comments", "DELETE FROM comments WHERE id = 'c'")?;
    let insert =
        "INSERT INTO comments (id, product_id, author_id, body) VALUES ('c', 'p', 'a', '')";
    home.by_hand("comments", insert)?;
    let returned = node.get_asking("c", &STRONG).await?.into_inner();
    assert!(returned.version > again);
    assert!(
        returned
            .created_at
            .is_some_and(|time| time.seconds > 1_700_000_000)
    );
    Ok(())
}

async fn what_is_wrong_with_a_request_is_said_by_its_field(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    let created = node.create(note("c")).await?.into_inner();
    let said = |body: &str| Comment {
        body: body.to_owned(),
        ..note("c")
    };
    let long = "x".repeat(10_001);
    let bad = [("larder-token", "x")];
    let mut wrong: Vec<(&str, Option<Status>)> = vec![
        ("id", node.get("No").await.err()),
        ("id", node.get("").await.err()),
        ("id", node.delete("a b", None).await.err()),
        ("comment.id", node.create(by("A", "p", "a")).await.err()),
        (
            "comment.product_id",
            node.create(by("b", "", "a")).await.err(),
        ),
        (
            "comment.author_id",
            node.create(by("b", "p", "A")).await.err(),
        ),
        ("comment.body", node.create(said("")).await.err()),
        ("comment.body", node.create(said(&long)).await.err()),
        ("comment.body", node.create(said("a\0")).await.err()),
        ("comment.id", node.update(note(""), None, None).await.err()),
        (
            "comment.body",
            node.update(said(&long), None, None).await.err(),
        ),
        (
            "comment.body",
            node.update(said(""), Some(&["*"]), None).await.err(),
        ),
        (
            "update_mask",
            node.update(note("c"), Some(&[]), None).await.err(),
        ),
        (
            "update_mask",
            node.update(note("c"), Some(&["product_id"]), None)
                .await
                .err(),
        ),
        (
            "update_mask",
            node.update(note("c"), Some(&["created_at"]), None)
                .await
                .err(),
        ),
        ("product_id", node.page("", 1, "").await.err()),
        ("page_size", node.page("kettle", -1, "").await.err()),
        ("page_token", node.page("kettle", 1, "tampered").await.err()),
        ("larder-token", node.get_asking("c", &bad).await.err()),
        ("larder-token", node.list_asking("kettle", &bad).await.err()),
    ];
    let empty = CreateCommentRequest { comment: None };
    wrong.push((
        "comment.body",
        node.client.clone().create_comment(empty).await.err(),
    ));
    for (field, status) in wrong {
        let status = status.unwrap_or_else(|| panic!("{field} was accepted"));
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
        assert_eq!(fields(&status), [field], "{status}");
        assert_eq!(reason(&status), "INVALID_FIELD");
    }
    assert_eq!(node.get("c").await?.into_inner(), created);
    Ok(())
}

async fn what_the_contract_cannot_tell_cannot_be_written_by_hand_either(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    house.comments.create(note("c")).await?;
    let long = format!("'{}'", "a".repeat(64));
    for column in ["id", "product_id", "author_id"] {
        for text in ["''", "'No'", "'-a'", "'a_b'", "'ä'", "'a b'", long.as_str()] {
            let sql = format!("UPDATE comments SET {column} = {text}");
            assert!(house.home.by_hand("comments", &sql).is_err(), "{sql}");
        }
    }
    for time in ["-1", "253402300800000000"] {
        let sql = format!("UPDATE comments SET created_at = {time}");
        assert!(house.home.by_hand("comments", &sql).is_err(), "{sql}");
    }
    house.home.by_hand(
        "comments",
        "UPDATE comments SET created_at = 253402300799999999",
    )?;
    let last = house
        .comments
        .list_asking("kettle", &STRONG)
        .await?
        .into_inner();
    assert_eq!(
        last.comments[0].created_at.map(|time| time.seconds),
        Some(253_402_300_799)
    );
    Ok(())
}

async fn an_id_that_is_taken_is_refused_and_of_many_at_once_one_wins(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    // What is known to be absent does not stay so.
    assert_eq!(
        node.get("c").await.expect_err("none yet").code(),
        Code::NotFound
    );
    let creations = join_all((0..8).map(|n| {
        node.create(Comment {
            body: format!("the {n}th"),
            ..note("c")
        })
    }));
    let (made, refused): (Vec<_>, Vec<_>) = creations.await.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 7));
    for status in refused.into_iter().filter_map(Result::err) {
        assert_eq!(status.code(), Code::AlreadyExists, "{status}");
        assert_eq!(reason(&status), "ALREADY_EXISTS");
    }
    let made = made.into_iter().find_map(Result::ok).expect("one");
    assert_eq!(node.get("c").await?.get_ref(), made.get_ref());
    Ok(())
}

async fn what_is_missing_is_not_found_and_says_where_that_is_known_from(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    for known_from in ["db", "l1"] {
        let status = node.get("c").await.expect_err("missing");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::NotFound, "NOT_FOUND")
        );
        assert_eq!(source(status.metadata()), known_from);
        assert!(!said(status.metadata(), "larder-age-ms").is_empty());
    }
    for status in [
        node.update(note("c"), None, None).await.err(),
        node.update(note("c"), None, Some(1)).await.err(),
        node.delete("c", None).await.err(),
        node.delete("c", Some(1)).await.err(),
    ] {
        let status = status.expect("missing");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::NotFound, "NOT_FOUND")
        );
    }
    // A product that nobody has said anything about is none that is missing.
    assert_eq!(
        node.list("pot").await?.into_inner(),
        ListCommentsResponse::default()
    );
    Ok(())
}

async fn a_write_that_expects_another_version_is_aborted(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    let created = node.create(note("c")).await?.into_inner();
    for status in [
        node.update(note("c"), None, Some(2)).await.err(),
        node.update(note("c"), None, Some(0)).await.err(),
        node.update(note("c"), None, Some(u64::MAX)).await.err(),
        node.delete("c", Some(2)).await.err(),
    ] {
        let status = status.expect("another version");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Aborted, "VERSION_MISMATCH")
        );
    }
    assert_eq!(node.get_asking("c", &STRONG).await?.into_inner(), created);
    // Of many who read the same version one writes.
    let writes = join_all((0..8).map(|_| node.update(note("c"), None, Some(1)))).await;
    assert_eq!(writes.iter().filter(|write| write.is_ok()).count(), 1);
    Ok(())
}

async fn only_the_body_is_ever_written_again(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    let created = node.create(note("c")).await?.into_inner();
    for (version, mask) in [(2, Some(&["*"][..])), (3, Some(&["body"][..])), (4, None)] {
        let change = Comment {
            body: format!("now {version}"),
            author_display_name: "Nobody".to_owned(),
            ..by("c", "pot", "bob")
        };
        let written = node.update(change, mask, None).await?.into_inner();
        let expected = Comment {
            body: format!("now {version}"),
            version,
            ..created.clone()
        };
        assert_eq!(written, expected);
    }
    Ok(())
}

async fn a_list_goes_through_a_products_comments_newest_first(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    house.people.create("ada", "Ada").await?;
    for id in ["b-2", "a", "b", "b1", "z"] {
        node.create(note(id)).await?;
    }
    node.create(by("other", "pot", "ada")).await?;
    // Three of one moment, told apart by their ids.
    let times =
        "UPDATE comments SET created_at = CASE id WHEN 'a' THEN 9 WHEN 'z' THEN 1 ELSE 5 END";
    house.home.by_hand("comments", times)?;
    node.list_asking("kettle", &STRONG).await?;
    for size in [1, 2, 5, 0, i32::MAX] {
        for _ in ["loaded", "cached"] {
            let (mut seen, mut next) = (Vec::new(), String::new());
            loop {
                let page = node.page("kettle", size, &next).await?.into_inner();
                assert!(size <= 0 || page.comments.len() <= size as usize);
                assert!(
                    page.comments
                        .iter()
                        .all(|comment| comment.author_display_name == "Ada")
                );
                seen.extend(page.comments.into_iter().map(|comment| comment.id));
                next = page.next_page_token;
                if next.is_empty() {
                    break;
                }
                let opaque = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                assert!(next.bytes().all(opaque));
            }
            assert_eq!(seen, ["a", "b1", "b-2", "b", "z"], "by {size}");
        }
    }
    assert_eq!(source(node.page("kettle", 1, "").await?.metadata()), "l1");
    Ok(())
}

async fn a_page_token_is_good_for_its_own_product_only(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    for id in ["a", "b", "c"] {
        node.create(note(id)).await?;
    }
    let token = node
        .page("kettle", 1, "")
        .await?
        .into_inner()
        .next_page_token;
    assert!(!token.is_empty());
    // How many go on a page may change on the way.
    assert_eq!(
        node.page("kettle", 9, &token)
            .await?
            .into_inner()
            .comments
            .len(),
        2
    );
    let status = node.page("pot", 1, &token).await.expect_err("another list");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(fields(&status), ["page_token"]);
    Ok(())
}

async fn a_request_that_is_too_large_is_refused(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let large = Comment {
        body: "x".repeat(300 << 10),
        ..note("c")
    };
    let status = house.comments.create(large).await.expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(reason(&status), "MESSAGE_TOO_LARGE");
    Ok(())
}
