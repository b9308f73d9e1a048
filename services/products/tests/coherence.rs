//! What callers see of changes, whoever makes them, on whichever replica.

use crate::support;

use anyhow::Result;
use larder::remote::Remote as _;
use larder::remote::hub::{Faults, Hub};
use larder_host::Parts;
use larder_host::on_both;
use larder_host::trial::{Home, SOON};
use larder_proto::products::v1::*;
use larder_testkit::wait_until;
use std::sync::Arc;
use support::{Node, kettle, page, priced, source, token};

on_both!(
    a_row_that_is_changed_by_hand_is_seen_after_a_poll,
    a_row_that_is_moved_by_hand_leaves_one_category_and_enters_the_other,
    a_change_of_a_row_that_a_page_shows_is_seen_on_the_other_replica,
    what_is_written_here_is_put_for_those_there,
    a_token_shows_its_write_in_every_list,
);

/// An answer that is a minute old will do: what is seen is then due to news alone.
const OLD: [(&str, &str); 1] = [("larder-max-staleness-ms", "60000")];

/// A replica that never asks the feed, so that all it hears of are hints.
fn deaf(home: &Home, hub: &Arc<Hub>) -> Parts {
    let mut parts = home.parts(hub);
    parts.timing.poll = None;
    parts
}

fn all() -> ListProductsRequest {
    page("", ProductOrder::PriceAscending, 10)
}

fn of(category: &str) -> ListProductsRequest {
    page(category, ProductOrder::PriceAscending, 10)
}

/// What a list shows to one who does not mind old answers.
async fn shown(node: &Node, list: ListProductsRequest) -> Result<Vec<Product>> {
    Ok(node.list(list, &OLD).await?.into_inner().products)
}

async fn a_row_that_is_changed_by_hand_is_seen_after_a_poll(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(kettle()).await?;
    for _ in ["loaded", "cached"] {
        node.get("kettle").await?;
        shown(&node, of("kitchen")).await?;
        shown(&node, all()).await?;
    }
    home.by_hand(
        "products",
        "UPDATE products SET stock = 0 WHERE id = 'kettle'",
    )?;
    let sold_out = |products: &[Product]| products[0].stock == 0;
    let seen = async || {
        node.get_asking("kettle", &OLD)
            .await
            .is_ok_and(|answer| answer.get_ref().stock == 0)
    };
    wait_until("the change of the row", SOON, seen).await?;
    let seen = async || {
        shown(&node, of("kitchen"))
            .await
            .is_ok_and(|page| sold_out(&page))
    };
    wait_until("the change in its category", SOON, seen).await?;
    let seen = async || shown(&node, all()).await.is_ok_and(|page| sold_out(&page));
    wait_until("the change in the list of all", SOON, seen).await
}

async fn a_row_that_is_moved_by_hand_leaves_one_category_and_enters_the_other(
    home: Home,
) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(kettle()).await?;
    assert_eq!(shown(&node, of("kitchen")).await?.len(), 1);
    assert_eq!(shown(&node, of("tea")).await?, []);
    assert_eq!(source(node.list(of("tea"), &OLD).await?.metadata()), "l1");
    home.by_hand(
        "products",
        "UPDATE products SET category = 'tea' WHERE id = 'kettle'",
    )?;
    let entered = async || {
        shown(&node, of("tea"))
            .await
            .is_ok_and(|page| page.len() == 1)
    };
    wait_until("the new category", SOON, entered).await?;
    let left = async || {
        shown(&node, of("kitchen"))
            .await
            .is_ok_and(|page| page.is_empty())
    };
    wait_until("the old category", SOON, left).await
}

async fn a_change_of_a_row_that_a_page_shows_is_seen_on_the_other_replica(
    home: Home,
) -> Result<()> {
    let hub = Hub::new();
    let here = Node::on(&home, &hub).await?;
    let there = Node::of(deaf(&home, &hub)).await?;
    here.create(kettle()).await?;
    here.create(priced("vise", "tools", 4999)).await?;
    shown(&there, of("kitchen")).await?;
    shown(&there, of("tools")).await?;
    here.update(
        Product {
            stock: 9,
            ..kettle()
        },
        Some(&["stock"]),
        None,
    )
    .await?;
    let seen = async || {
        shown(&there, of("kitchen"))
            .await
            .is_ok_and(|page| page[0].stock == 9)
    };
    wait_until("the change on the page", SOON, seen).await?;
    // A page of another category is left alone.
    assert_eq!(
        source(there.list(of("tools"), &OLD).await?.metadata()),
        "l1"
    );
    Ok(())
}

async fn what_is_written_here_is_put_for_those_there(home: Home) -> Result<()> {
    let hub = Hub::new();
    let here = Node::on(&home, &hub).await?;
    let there = Node::of(deaf(&home, &hub)).await?;
    here.create(kettle()).await?;
    let stored = async || hub.get(&["larder:v1:products:kettle".to_owned()]).await;
    let first = async || stored().await.is_ok_and(|values| values[0].is_some());
    wait_until("the new product in the remote tier", SOON, first).await?;
    let before = stored().await?;
    there.get("kettle").await?;
    // The hint comes after the value, for once.
    hub.set_faults(Faults {
        hold: true,
        ..Faults::default()
    });
    here.update(
        Product {
            stock: 9,
            ..kettle()
        },
        Some(&["stock"]),
        None,
    )
    .await?;
    let renewed = async || stored().await.is_ok_and(|values| values != before);
    wait_until("the changed product in the remote tier", SOON, renewed).await?;
    hub.set_faults(Faults::default());
    let taken = async || {
        there.get_asking("kettle", &OLD).await.is_ok_and(|answer| {
            let new = answer.get_ref().stock == 9;
            assert!(
                !new || source(answer.metadata()) == "l2",
                "it was loaded again"
            );
            new
        })
    };
    wait_until("the value that was put", SOON, taken).await
}

async fn a_token_shows_its_write_in_every_list(home: Home) -> Result<()> {
    let hub = Hub::new();
    let here = Node::on(&home, &hub).await?;
    let there = Node::of(deaf(&home, &hub)).await?;
    here.create(kettle()).await?;
    let lists = [of("kitchen"), of("tea"), all()];
    for list in &lists {
        shown(&there, list.clone()).await?;
    }
    hub.set_faults(Faults {
        lose_every: 1,
        ..Faults::default()
    });
    let moved = here
        .update(priced("kettle", "tea", 1), Some(&["category"]), None)
        .await?;
    assert_eq!(
        shown(&there, of("kitchen")).await?.len(),
        1,
        "it has not heard"
    );
    let shown = token(moved.metadata());
    for (list, expected) in lists.into_iter().zip([0, 1, 1]) {
        let asked = [("larder-token", shown.as_str()), OLD[0]];
        let page = there.list(list, &asked).await?;
        assert_eq!(source(page.metadata()), "db");
        let page = page.into_inner().products;
        assert_eq!(page.len(), expected);
        assert!(page.iter().all(|product| product == moved.get_ref()));
    }
    Ok(())
}
