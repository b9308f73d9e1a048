//! What callers see of changes, whoever makes them, on whichever replica.

use crate::support;

use anyhow::Result;
use larder::remote::hub::{Faults, Hub};
use larder_host::Parts;
use larder_host::on_both;
use larder_host::trial::{Home, SOON, asking, said};
use larder_proto::profiles::v1::*;
use larder_testkit::wait_until;
use std::sync::Arc;
use std::time::Duration;
use support::{Node, ada, named, source, token};
use tonic::Code;

on_both!(
    a_row_that_is_changed_by_hand_is_seen_after_a_poll,
    a_row_that_is_deleted_or_made_by_hand_is_seen_after_a_poll,
    a_write_here_is_gone_there,
    a_token_shows_its_write_on_a_replica_that_has_not_heard_of_it,
    every_word_of_freshness_is_heeded,
    a_write_whose_caller_hangs_up_is_told_to_the_others,
);

/// An answer that is a minute old will do: what is seen is then due to news alone.
const OLD: [(&str, &str); 1] = [("larder-max-staleness-ms", "60000")];

/// A replica that never asks the feed, so that all it hears of are hints.
fn deaf(home: &Home, hub: &Arc<Hub>) -> Parts {
    let mut parts = home.parts(hub);
    parts.timing.poll = None;
    parts
}

async fn a_row_that_is_changed_by_hand_is_seen_after_a_poll(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(ada()).await?;
    node.get("ada").await?;
    assert_eq!(source(node.get_asking("ada", &OLD).await?.metadata()), "l1");
    node.list(0, "").await?;
    home.by_hand(
        "profiles",
        "UPDATE profiles SET display_name = 'Countess' WHERE id = 'ada'",
    )?;
    let seen = async || {
        let answer = node.get_asking("ada", &OLD).await;
        answer.is_ok_and(|answer| answer.get_ref().display_name == "Countess")
    };
    wait_until("the change made by hand", SOON, seen).await?;
    let listed = async || {
        let request = asking(ListProfilesRequest::default(), &OLD);
        let page = node.client.clone().list_profiles(request).await;
        page.is_ok_and(|page| page.get_ref().profiles[0].display_name == "Countess")
    };
    wait_until("the change in the list", SOON, listed).await
}

async fn a_row_that_is_deleted_or_made_by_hand_is_seen_after_a_poll(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(ada()).await?;
    node.get("ada").await?;
    home.by_hand("profiles", "DELETE FROM profiles WHERE id = 'ada'")?;
    let gone = async || {
        let answer = node.get_asking("ada", &OLD).await;
        answer.is_err_and(|status| status.code() == Code::NotFound)
    };
    wait_until("the deletion", SOON, gone).await?;
    // Its absence is cached now.
    let known = node.get_asking("ada", &OLD).await.expect_err("gone");
    assert_eq!(source(known.metadata()), "l1");
    home.by_hand(
        "profiles",
        "INSERT INTO profiles (id, display_name) VALUES ('ada', 'Again')",
    )?;
    let back = async || node.get_asking("ada", &OLD).await.is_ok();
    wait_until("the return", SOON, back).await
}

async fn a_write_here_is_gone_there(home: Home) -> Result<()> {
    let hub = Hub::new();
    let here = Node::on(&home, &hub).await?;
    let there = Node::of(deaf(&home, &hub)).await?;
    here.create(ada()).await?;
    there.get("ada").await?;
    assert_eq!(
        source(there.get_asking("ada", &OLD).await?.metadata()),
        "l1"
    );
    here.update(named("ada", "Countess"), Some(&["display_name"]), None)
        .await?;
    let seen = async || {
        let answer = there.get_asking("ada", &OLD).await;
        answer.is_ok_and(|answer| answer.get_ref().display_name == "Countess")
    };
    wait_until("the hint", SOON, seen).await?;
    here.delete("ada", None).await?;
    let gone = async || there.get_asking("ada", &OLD).await.is_err();
    wait_until("the hint of the deletion", SOON, gone).await
}

async fn a_token_shows_its_write_on_a_replica_that_has_not_heard_of_it(home: Home) -> Result<()> {
    let hub = Hub::new();
    let here = Node::on(&home, &hub).await?;
    let there = Node::of(deaf(&home, &hub)).await?;
    let created = here.create(ada()).await?;
    let shown = token(created.metadata());
    there.get_asking("ada", &[("larder-token", &shown)]).await?;
    hub.set_faults(Faults {
        lose_every: 1,
        ..Faults::default()
    });
    let changed = here
        .update(named("ada", "Countess"), Some(&["display_name"]), None)
        .await?;
    let old = there.get_asking("ada", &OLD).await?;
    assert_eq!(
        (old.get_ref().version, source(old.metadata())),
        (1, "l1"),
        "it has not heard"
    );
    let shown = token(changed.metadata());
    let both = [("larder-token", shown.as_str()), OLD[0]];
    let answer = there.get_asking("ada", &both).await?;
    assert_eq!(answer.get_ref(), changed.get_ref());
    assert_eq!(source(answer.metadata()), "db");
    // A list, and a key that nobody has read, answer for the same token.
    let request = asking(ListProfilesRequest::default(), &both);
    let page = there
        .client
        .clone()
        .list_profiles(request)
        .await?
        .into_inner();
    assert_eq!(page.profiles, [changed.into_inner()]);
    Ok(())
}

async fn every_word_of_freshness_is_heeded(home: Home) -> Result<()> {
    let hub = Hub::new();
    let here = Node::on(&home, &hub).await?;
    let there = Node::of(deaf(&home, &hub)).await?;
    here.create(ada()).await?;
    there.get("ada").await?;
    hub.set_faults(Faults {
        lose_every: 1,
        ..Faults::default()
    });
    here.update(named("ada", "Countess"), Some(&["display_name"]), None)
        .await?;
    let old = |metadata: &'static [(&'static str, &'static str)]| there.get_asking("ada", metadata);
    let answer = old(&OLD).await?;
    assert_eq!(
        (answer.get_ref().version, source(answer.metadata())),
        (1, "l1")
    );
    let answer = old(&[("larder-max-staleness-ms", "0")]).await?;
    assert_eq!(
        (answer.get_ref().version, source(answer.metadata())),
        (2, "db")
    );
    here.update(named("ada", "Lady"), Some(&["display_name"]), None)
        .await?;
    // Past Δ of the default, nothing is proven here any more: `any` says how old its answer is.
    let stale = async || {
        let answer = old(&[("larder-freshness", "any")]).await;
        answer.is_ok_and(|answer| {
            let age = said(answer.metadata(), "larder-age-ms").parse::<u64>();
            answer.get_ref().version == 2
                && source(answer.metadata()) == "stale"
                && age.is_ok_and(|age| age >= 1000)
        })
    };
    wait_until("a stale answer that is marked", SOON, stale).await?;
    let answer = old(&[("larder-freshness", "strong")]).await?;
    assert_eq!(
        (answer.get_ref().version, source(answer.metadata())),
        (3, "db")
    );
    let again = old(&[("larder-freshness", "strong")]).await?;
    assert_eq!(source(again.metadata()), "db");
    assert_eq!(said(again.metadata(), "larder-version"), "3");
    Ok(())
}

async fn a_write_whose_caller_hangs_up_is_told_to_the_others(home: Home) -> Result<()> {
    let hub = Hub::new();
    let here = Node::on(&home, &hub).await?;
    let there = Node::of(deaf(&home, &hub)).await?;
    here.create(ada()).await?;
    there.get("ada").await?;
    // 1. Somebody else is in the middle of writing the row.
    let url = larder_host::database_url(home.address().expose(), "profiles")?;
    let database = larder_db::Database::open(&url).await?;
    let mut other = database.begin_write().await?;
    other
        .execute("UPDATE profiles SET bio = bio WHERE id = 'ada'", &[])
        .await?;
    // 2. A caller writes, waits, and hangs up.
    let request = UpdateProfileRequest {
        profile: Some(named("ada", "Countess")),
        update_mask: None,
        expected_version: None,
    };
    let mut request = asking(request, &[]);
    request.set_timeout(Duration::from_millis(200));
    let hung_up = here
        .client
        .clone()
        .update_profile(request)
        .await
        .expect_err("too late");
    assert_eq!(hung_up.code(), Code::DeadlineExceeded);
    let answer = there.get_asking("ada", &OLD).await?;
    assert_eq!(
        (answer.get_ref().version, source(answer.metadata())),
        (1, "l1")
    );
    // 3. The row is free, the write commits, and a replica that hears of nothing but hints sees it.
    other.rollback().await?;
    let seen = async || {
        let answer = there.get_asking("ada", &OLD).await;
        answer.is_ok_and(|answer| answer.get_ref().display_name == "Countess")
    };
    wait_until("the hint of a write without a caller", SOON, seen).await?;
    database.close().await;
    Ok(())
}
