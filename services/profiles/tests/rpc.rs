//! Every method and what it refuses, through a real server, on both engines.

use crate::support;

use anyhow::Result;
use futures_util::future::join_all;
use larder_host::on_both;
use larder_host::trial::{Home, asking, fields, reason, said};
use larder_proto::profiles::v1::*;
use support::{Node, ada, named, source, token};
use tonic::{Code, Status};

on_both!(
    a_profile_is_created_read_changed_and_deleted,
    an_id_is_made_where_none_is_given,
    a_version_is_never_used_twice_for_one_id,
    what_is_wrong_with_a_request_is_said_by_its_field,
    an_id_that_is_taken_is_refused_and_of_many_at_once_one_wins,
    what_is_missing_is_not_found_and_says_where_that_is_known_from,
    a_write_that_expects_another_version_is_aborted,
    a_mask_says_which_fields_are_written,
    a_batch_answers_what_there_is_in_the_order_asked,
    a_list_goes_through_all_profiles_page_by_page,
    a_request_that_is_too_large_is_refused,
);

async fn a_profile_is_created_read_changed_and_deleted(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let created = node.create(ada()).await?;
    assert_eq!(
        created.get_ref(),
        &Profile {
            version: 1,
            ..ada()
        }
    );
    assert_eq!(said(created.metadata(), "larder-version"), "1");
    assert_eq!(source(created.metadata()), "db");
    assert!(!token(created.metadata()).is_empty());

    let first = node.get("ada").await?;
    assert_eq!(first.get_ref(), created.get_ref());
    assert_eq!(source(first.metadata()), "db");
    let second = node.get("ada").await?;
    assert_eq!(second.get_ref(), created.get_ref());
    assert_eq!(source(second.metadata()), "l1");
    assert_eq!(said(second.metadata(), "larder-version"), "1");
    assert!(said(second.metadata(), "larder-age-ms").parse::<u64>()? <= 1000);

    let changed = node
        .update(
            Profile {
                followers: 8,
                ..ada()
            },
            Some(&["followers"]),
            Some(1),
        )
        .await?;
    assert_eq!(
        changed.get_ref(),
        &Profile {
            followers: 8,
            version: 2,
            ..ada()
        }
    );
    assert!(!token(changed.metadata()).is_empty());
    assert_eq!(node.get("ada").await?.get_ref(), changed.get_ref());

    let deleted = node.delete("ada", Some(2)).await?;
    assert_eq!(deleted.get_ref(), changed.get_ref());
    assert_eq!(said(deleted.metadata(), "larder-version"), "2");
    assert_eq!(
        node.get("ada").await.expect_err("deleted").code(),
        Code::NotFound
    );
    node.replica.stop().await
}

async fn an_id_is_made_where_none_is_given(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let one = node.create(named("", "One")).await?.into_inner();
    let two = node.create(named("", "Two")).await?.into_inner();
    assert_ne!(one.id, two.id);
    assert_eq!(node.get(&one.id).await?.into_inner(), one);
    Ok(())
}

async fn a_version_is_never_used_twice_for_one_id(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let first = node.create(ada()).await?.into_inner().version;
    home.by_hand(
        "profiles",
        "UPDATE profiles SET bio = 'by hand' WHERE id = 'ada'",
    )?;
    let strong = [("larder-freshness", "strong")];
    let by_hand = node.get_asking("ada", &strong).await?.into_inner().version;
    assert!(by_hand > first);
    node.delete("ada", None).await?;
    let again = node.create(ada()).await?.into_inner().version;
    assert!(again > by_hand);
    home.by_hand("profiles", "DELETE FROM profiles WHERE id = 'ada'")?;
    home.by_hand(
        "profiles",
        "INSERT INTO profiles (id, display_name) VALUES ('ada', 'Ada')",
    )?;
    let returned = node.get_asking("ada", &strong).await?.into_inner().version;
    assert!(returned > again);
    // A name that was another's.
    let other = node.create(named("b", "B")).await?.into_inner().version;
    node.delete("b", None).await?;
    home.by_hand("profiles", "UPDATE profiles SET id = 'b' WHERE id = 'ada'")?;
    let renamed = node.get_asking("b", &strong).await?.into_inner().version;
    assert!(renamed > other);
    assert!(node.create(ada()).await?.into_inner().version > returned);
    Ok(())
}

async fn what_is_wrong_with_a_request_is_said_by_its_field(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(ada()).await?;
    let long = |chars: usize| "x".repeat(chars);
    let mut wrong: Vec<(&str, Option<Status>)> = vec![
        ("id", node.get("No").await.err()),
        ("id", node.get("").await.err()),
        ("id", node.delete("a b", None).await.err()),
        ("ids[1]", node.batch(&["ada", "-"]).await.err()),
        ("ids", node.batch(&["ada"; 201]).await.err()),
        ("profile.id", node.create(named("A", "A")).await.err()),
        (
            "profile.id",
            node.update(named("", "A"), None, None).await.err(),
        ),
        (
            "profile.display_name",
            node.create(named("b", "")).await.err(),
        ),
        (
            "profile.display_name",
            node.create(named("b", &long(201))).await.err(),
        ),
        (
            "profile.display_name",
            node.create(named("b", "a\0")).await.err(),
        ),
        (
            "profile.bio",
            node.create(Profile {
                bio: long(4001),
                ..ada()
            })
            .await
            .err(),
        ),
        (
            "profile.avatar_url",
            node.create(Profile {
                avatar_url: long(2001),
                ..ada()
            })
            .await
            .err(),
        ),
        (
            "profile.followers",
            node.create(Profile {
                followers: -1,
                ..ada()
            })
            .await
            .err(),
        ),
        (
            "profile.followers",
            node.update(
                Profile {
                    followers: -1,
                    ..ada()
                },
                None,
                None,
            )
            .await
            .err(),
        ),
        (
            "profile.display_name",
            node.update(named("ada", ""), Some(&["*"]), None)
                .await
                .err(),
        ),
        (
            "update_mask",
            node.update(ada(), Some(&[]), None).await.err(),
        ),
        (
            "update_mask",
            node.update(ada(), Some(&[""]), None).await.err(),
        ),
        (
            "update_mask",
            node.update(ada(), Some(&["version"]), None).await.err(),
        ),
        (
            "update_mask",
            node.update(ada(), Some(&["bio", "nickname"]), None)
                .await
                .err(),
        ),
        ("page_size", node.list(-1, "").await.err()),
        ("page_token", node.list(1, "tampered").await.err()),
        (
            "larder-token",
            node.get_asking("ada", &[("larder-token", "x")]).await.err(),
        ),
        (
            "larder-freshness",
            node.get_asking("ada", &[("larder-freshness", "x")])
                .await
                .err(),
        ),
    ];
    let empty = CreateProfileRequest { profile: None };
    wrong.push((
        "profile.display_name",
        node.client.clone().create_profile(empty).await.err(),
    ));
    for (field, status) in wrong {
        let status = status.unwrap_or_else(|| panic!("{field} was accepted"));
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
        assert_eq!(fields(&status), [field], "{status}");
        assert_eq!(reason(&status), "INVALID_FIELD");
    }
    assert_eq!(
        node.get("ada").await?.into_inner(),
        Profile {
            version: 1,
            ..ada()
        }
    );
    Ok(())
}

async fn an_id_that_is_taken_is_refused_and_of_many_at_once_one_wins(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    // What is known to be absent does not stay so.
    assert_eq!(
        node.get("ada").await.expect_err("none yet").code(),
        Code::NotFound
    );
    let creations = join_all((0..8).map(|n| node.create(named("ada", &format!("Ada {n}"))))).await;
    let (made, refused): (Vec<_>, Vec<_>) = creations.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 7));
    for status in refused.into_iter().filter_map(Result::err) {
        assert_eq!(status.code(), Code::AlreadyExists, "{status}");
        assert_eq!(reason(&status), "ALREADY_EXISTS");
    }
    let made = made.into_iter().find_map(Result::ok).expect("one");
    assert_eq!(node.get("ada").await?.get_ref(), made.get_ref());
    Ok(())
}

async fn what_is_missing_is_not_found_and_says_where_that_is_known_from(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    for known_from in ["db", "l1"] {
        let status = node.get("ada").await.expect_err("missing");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::NotFound, "NOT_FOUND")
        );
        assert_eq!(source(status.metadata()), known_from);
        assert!(!said(status.metadata(), "larder-age-ms").is_empty());
    }
    for status in [
        node.update(ada(), None, None).await.err(),
        node.update(ada(), None, Some(1)).await.err(),
        node.delete("ada", None).await.err(),
        node.delete("ada", Some(1)).await.err(),
    ] {
        let status = status.expect("missing");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::NotFound, "NOT_FOUND")
        );
    }
    Ok(())
}

async fn a_write_that_expects_another_version_is_aborted(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let created = node.create(ada()).await?.into_inner();
    for status in [
        node.update(ada(), None, Some(2)).await.err(),
        node.update(ada(), None, Some(0)).await.err(),
        node.update(ada(), None, Some(u64::MAX)).await.err(),
        node.delete("ada", Some(2)).await.err(),
    ] {
        let status = status.expect("another version");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Aborted, "VERSION_MISMATCH")
        );
    }
    let strong = [("larder-freshness", "strong")];
    assert_eq!(node.get_asking("ada", &strong).await?.into_inner(), created);
    // Of many who read the same version one writes.
    let writes = join_all((0..8).map(|_| node.update(ada(), None, Some(1)))).await;
    assert_eq!(writes.iter().filter(|write| write.is_ok()).count(), 1);
    Ok(())
}

async fn a_mask_says_which_fields_are_written(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(ada()).await?;
    let other = || named("ada", "Countess");
    let named = node
        .update(other(), Some(&["display_name"]), None)
        .await?
        .into_inner();
    let expected = Profile {
        display_name: "Countess".into(),
        version: 2,
        ..ada()
    };
    assert_eq!(named, expected);
    let sparse = Profile {
        id: "ada".into(),
        bio: "writes".into(),
        ..Profile::default()
    };
    let populated = node.update(sparse.clone(), None, None).await?.into_inner();
    let expected = Profile {
        bio: "writes".into(),
        version: 3,
        ..expected
    };
    assert_eq!(populated, expected);
    let cleared = node
        .update(sparse.clone(), Some(&["avatar_url", "followers"]), None)
        .await?;
    let expected = Profile {
        avatar_url: String::new(),
        followers: 0,
        version: 4,
        ..expected
    };
    assert_eq!(cleared.into_inner(), expected);
    let whole = Profile {
        display_name: "A".into(),
        ..sparse
    };
    let replaced = node
        .update(whole.clone(), Some(&["*"]), None)
        .await?
        .into_inner();
    assert_eq!(
        replaced,
        Profile {
            version: 5,
            ..whole
        }
    );
    assert_eq!(node.get("ada").await?.into_inner(), replaced);
    Ok(())
}

async fn a_batch_answers_what_there_is_in_the_order_asked(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let a = node.create(named("a", "A")).await?.into_inner();
    let b = node.create(named("b", "B")).await?.into_inner();
    node.get("a").await?;
    for known_from in ["db", "l1"] {
        let batch = node.batch(&["b", "x", "a", "b", "y"]).await?;
        assert_eq!(source(batch.metadata()), known_from);
        assert_eq!(batch.get_ref().profiles, [b.clone(), a.clone()]);
        assert_eq!(batch.get_ref().missing_ids, ["x", "y"]);
    }
    let many: Vec<String> = (0..200).map(|n| format!("n{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(node.batch(&many).await?.into_inner().missing_ids, many);
    assert_eq!(
        node.batch(&[]).await?.into_inner(),
        BatchGetProfilesResponse::default()
    );
    Ok(())
}

async fn a_list_goes_through_all_profiles_page_by_page(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    assert_eq!(
        node.list(2, "").await?.into_inner(),
        ListProfilesResponse::default()
    );
    let mut all = Vec::new();
    for id in ["b-2", "a", "b", "b1", "z"] {
        all.push(node.create(named(id, id)).await?.into_inner());
    }
    all.sort_by(|one, other| one.id.cmp(&other.id));
    for size in [1, 2, 5, 0, i32::MAX] {
        for _ in ["loaded", "cached"] {
            let (mut seen, mut next) = (Vec::new(), String::new());
            loop {
                let page = node.list(size, &next).await?.into_inner();
                assert!(size <= 0 || page.profiles.len() <= size as usize);
                seen.extend(page.profiles);
                next = page.next_page_token;
                if next.is_empty() {
                    break;
                }
                let opaque = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                assert!(next.bytes().all(opaque));
            }
            assert_eq!(seen, all);
        }
    }
    assert_eq!(source(node.list(1, "").await?.metadata()), "l1");
    node.update(named("z", "Zoe"), Some(&["display_name"]), None)
        .await?;
    let page = node.list(0, "").await?.into_inner();
    assert_eq!(
        page.profiles.last().map(|last| last.display_name.as_str()),
        Some("Zoe")
    );
    Ok(())
}

async fn a_request_that_is_too_large_is_refused(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let status = node
        .create(Profile {
            bio: "x".repeat(300 << 10),
            ..ada()
        })
        .await;
    let status = status.expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(reason(&status), "MESSAGE_TOO_LARGE");
    let nothing = asking(GetProfileRequest { id: "ada".into() }, &[]);
    assert_eq!(
        node.client
            .clone()
            .get_profile(nothing)
            .await
            .expect_err("none")
            .code(),
        Code::NotFound
    );
    Ok(())
}
