//! What callers see of changes, whoever makes them, on whichever replica.

use crate::support;

use anyhow::Result;
use larder::remote::hub::Faults;
use larder_host::on_both;
use larder_host::trial::{Home, SOON};
use larder_proto::comments::v1::Comment;
use larder_testkit::wait_until;
use support::{House, Node, OLD, by, note, source, token};
use tonic::Code;

on_both!(
    a_comment_that_comes_moves_or_goes_changes_the_lists_of_its_products,
    a_row_that_is_changed_by_hand_is_seen_after_a_poll,
    rows_that_all_go_by_hand_are_gone,
    a_write_here_is_seen_there,
    a_token_shows_its_write_on_a_replica_that_has_not_heard_of_it,
);

/// Waits until the first page of a product has these ids.
async fn listed(node: &Node, product: &str, ids: &[&str]) -> Result<()> {
    let seen = async || node.ids(product).await.is_ok_and(|seen| seen == ids);
    wait_until(&format!("{ids:?} on {product}"), SOON, seen).await
}

async fn a_comment_that_comes_moves_or_goes_changes_the_lists_of_its_products(
    home: Home,
) -> Result<()> {
    let house = House::new(home).await?;
    let (here, there) = (&house.comments, house.another().await?);
    for product in ["kettle", "pot"] {
        assert_eq!(here.ids(product).await?, [""; 0]);
        assert_eq!(there.ids(product).await?, [""; 0]);
    }
    here.create(note("a")).await?;
    here.create(note("b")).await?;
    assert_eq!(
        here.ids("kettle").await?,
        ["b", "a"],
        "whoever wrote sees it at once"
    );
    listed(&there, "kettle", &["b", "a"]).await?;
    house.home.by_hand(
        "comments",
        "UPDATE comments SET product_id = 'pot' WHERE id = 'a'",
    )?;
    for node in [here, &there] {
        listed(node, "kettle", &["b"]).await?;
        listed(node, "pot", &["a"]).await?;
    }
    here.delete("a", None).await?;
    assert_eq!(here.ids("pot").await?, [""; 0]);
    listed(&there, "pot", &[]).await?;
    listed(&there, "kettle", &["b"]).await
}

async fn a_row_that_is_changed_by_hand_is_seen_after_a_poll(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    node.create(note("c")).await?;
    node.get("c").await?;
    node.ids("kettle").await?;
    house.home.by_hand(
        "comments",
        "UPDATE comments SET body = 'By hand.' WHERE id = 'c'",
    )?;
    let seen = async || {
        let answer = node.get_asking("c", &OLD).await;
        answer.is_ok_and(|answer| answer.get_ref().body == "By hand.")
    };
    wait_until("the change made by hand", SOON, seen).await?;
    let listed = async || {
        let page = node.list_asking("kettle", &OLD).await;
        page.is_ok_and(|page| page.get_ref().comments[0].body == "By hand.")
    };
    wait_until("the change in the list", SOON, listed).await?;
    house
        .home
        .by_hand("comments", "DELETE FROM comments WHERE id = 'c'")?;
    let gone = async || {
        let answer = node.get_asking("c", &OLD).await;
        answer.is_err_and(|status| status.code() == Code::NotFound)
    };
    wait_until("the deletion", SOON, gone).await?;
    // Its absence is cached now.
    let known = node.get_asking("c", &OLD).await.expect_err("gone");
    assert_eq!(source(known.metadata()), "l1");
    let insert = "INSERT INTO comments (id, product_id, author_id, body)
        VALUES ('c', 'kettle', 'ada', 'Again.')";
    house.home.by_hand("comments", insert)?;
    let back = async || node.get_asking("c", &OLD).await.is_ok();
    wait_until("the return", SOON, back).await
}

async fn rows_that_all_go_by_hand_are_gone(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    for (id, product) in [("a", "kettle"), ("b", "pot")] {
        node.create(by(id, product, "ada")).await?;
        assert_eq!(node.ids(product).await?, [id]);
        node.get(id).await?;
    }
    let all = match house.home {
        Home::Sqlite(_) => "DELETE FROM comments",
        Home::Postgres(_) => "TRUNCATE comments",
    };
    house.home.by_hand("comments", all)?;
    listed(node, "kettle", &[]).await?;
    listed(node, "pot", &[]).await?;
    let gone = async || node.get_asking("b", &OLD).await.is_err();
    wait_until("the absence", SOON, gone).await
}

async fn a_write_here_is_seen_there(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let (here, there) = (&house.comments, house.deaf().await?);
    here.create(note("c")).await?;
    there.get("c").await?;
    assert_eq!(source(there.get_asking("c", &OLD).await?.metadata()), "l1");
    listed(&there, "kettle", &["c"]).await?;
    let change = Comment {
        body: "It broke.".to_owned(),
        ..note("c")
    };
    here.update(change, None, None).await?;
    let seen = async || {
        let answer = there.get_asking("c", &OLD).await;
        answer.is_ok_and(|answer| answer.get_ref().body == "It broke.")
    };
    wait_until("the hint", SOON, seen).await?;
    here.delete("c", None).await?;
    let gone = async || there.get_asking("c", &OLD).await.is_err();
    wait_until("the hint of the deletion", SOON, gone).await?;
    listed(&there, "kettle", &[]).await
}

async fn a_token_shows_its_write_on_a_replica_that_has_not_heard_of_it(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let (here, there) = (&house.comments, house.deaf().await?);
    let created = here.create(note("a")).await?;
    let shown = token(created.metadata());
    there
        .list_asking("kettle", &[("larder-token", &shown)])
        .await?;
    let deafening = Faults {
        lose_every: 1,
        ..Faults::default()
    };
    house.hub.set_faults(deafening);
    let added = here.create(note("b")).await?;
    assert_eq!(there.ids("kettle").await?, ["a"], "it has not heard");
    let shown = token(added.metadata());
    let page = there
        .list_asking("kettle", &[("larder-token", &shown), OLD[0]])
        .await?;
    let ids: Vec<_> = page
        .get_ref()
        .comments
        .iter()
        .map(|comment| comment.id.as_str())
        .collect();
    assert_eq!(ids, ["b", "a"]);
    assert_eq!(
        there
            .get_asking("b", &[("larder-token", &shown)])
            .await?
            .into_inner()
            .id,
        "b"
    );
    Ok(())
}
