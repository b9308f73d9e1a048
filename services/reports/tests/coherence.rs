//! Which reports an order drops, whoever writes it and on whichever replica, and which are dropped
//! or computed anew by hand.

use crate::support;

use anyhow::Result;
use larder::remote::hub::Hub;
use larder::remote::{Item, Remote as _};
use larder_host::on_both;
use larder_host::trial::{Home, Replica, SOON};
use larder_products::Products;
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::products::v1::{
    CreateProductRequest, GetProductRequest, Product, UpdateProductRequest,
};
use larder_proto::reports::v1::*;
use larder_testkit::wait_until;
use std::sync::Arc;
use std::time::Duration;
use support::*;

on_both!(
    an_order_drops_the_reports_of_its_month_and_region_and_no_others,
    an_order_that_is_written_or_moved_by_hand_is_seen_after_a_poll,
    reports_are_dropped_by_kind_by_region_or_all,
    a_refreshed_report_takes_the_place_of_the_old_one_everywhere,
    entries_of_another_version_are_neither_read_nor_touched,
    titles_are_joined_to_a_ranking_and_not_cached_with_it,
    a_product_loaded_by_one_service_is_a_hit_in_the_other,
);

/// Two replicas on one hub.
async fn pair(home: &Home) -> Result<(Arc<Hub>, [Node; 2])> {
    let hub = Hub::new();
    let nodes = [Node::on(home, &hub).await?, Node::on(home, &hub).await?];
    Ok((hub, nodes))
}

/// Reads reports until they come from memory.
async fn cached(node: &Node, reports: &[GetSalesReportRequest]) -> Result<()> {
    for report in reports {
        let known = async || {
            node.count(report.clone())
                .await
                .is_ok_and(|told| told.1 == "l1")
        };
        wait_until("a cached report", SOON, known).await?;
    }
    Ok(())
}

/// Which of these reports memory has no longer.
async fn dropped(node: &Node, reports: &[GetSalesReportRequest]) -> Result<Vec<bool>> {
    let mut dropped = Vec::new();
    for report in reports {
        dropped.push(node.count(report.clone()).await?.1 != "l1");
    }
    Ok(dropped)
}

async fn an_order_drops_the_reports_of_its_month_and_region_and_no_others(
    home: Home,
) -> Result<()> {
    let (_, [here, there]) = pair(&home).await?;
    here.record([order("1", "north", "2026-05-01")]).await?;
    let affected = [
        may(&["north"]),
        year(&["north"]),
        may(&["north", "west"]),
        may(&[]),
        year(&[]),
        sales("2026-05-31", "2026-07-01", &["north"]),
    ];
    let others = [
        may(&["south"]),
        may(&["south", "west"]),
        year(&["south"]),
        sales("2026-04-01", "2026-04-30", &["north"]),
        sales("2026-06-01", "2026-12-31", &["north"]),
        sales("2026-06-01", "2026-06-30", &[]),
        sales("2025-05-01", "2025-05-31", &["north"]),
    ];
    for node in [&here, &there] {
        cached(node, &affected).await?;
        cached(node, &others).await?;
    }
    let counts = async |node: &Node| node.count(may(&["north"])).await.map(|told| told.0);
    here.record([order("2", "north", "2026-05-17")]).await?;
    for node in [&here, &there] {
        let seen = async || counts(node).await.is_ok_and(|count| count == 2);
        wait_until("the order", SOON, seen).await?;
        for report in &affected[1..4] {
            assert_eq!(node.count(report.clone()).await?.0, 2);
        }
        let none = vec![false; others.len()];
        assert_eq!(dropped(node, &others).await?, none, "others stay");
    }
    let rest = dropped(&here, &affected[4..]).await?;
    assert_eq!(rest, [true, true], "reports of more months too");
    // What is recorded again changes nothing, and drops nothing.
    cached(&here, &affected).await?;
    here.record([order("2", "north", "2026-05-17")]).await?;
    assert_eq!(dropped(&here, &affected).await?, [false; 6]);
    Ok(())
}

async fn an_order_that_is_written_or_moved_by_hand_is_seen_after_a_poll(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let june = || sales("2026-06-01", "2026-06-30", &["north"]);
    let see = async |in_may: i64, in_june: i64| {
        let seen = async || {
            let may = node
                .count(may(&["north"]))
                .await
                .is_ok_and(|told| told.0 == in_may);
            may && node.count(june()).await.is_ok_and(|told| told.0 == in_june)
        };
        wait_until("what was done by hand", SOON, seen).await
    };
    see(0, 0).await?;
    let insert = "INSERT INTO orders (id, customer_id, product_id, region, ordered_at, quantity, \
                  price_cents) VALUES ('1', 'ada', 'kettle', 'north', 1780185600000000, 1, 1)";
    home.by_hand("reports", insert)?;
    see(1, 0).await?;
    // 2026-06-01 is a day later.
    let later = "UPDATE orders SET ordered_at = ordered_at + 86400000000";
    home.by_hand("reports", later)?;
    see(0, 1).await?;
    home.by_hand("reports", "UPDATE orders SET region = 'south'")?;
    see(0, 0).await?;
    home.by_hand("reports", "UPDATE orders SET region = 'north'")?;
    see(0, 1).await?;
    home.by_hand("reports", "DELETE FROM orders")?;
    see(0, 0).await?;
    let mars = insert.replace("north", "mars");
    assert!(home.by_hand("reports", &mars).is_err(), "no such region");
    Ok(())
}

async fn reports_are_dropped_by_kind_by_region_or_all(home: Home) -> Result<()> {
    use invalidate_reports_request::Target;
    let (_, [here, there]) = pair(&home).await?;
    let reports = [may(&["north"]), may(&["south"]), may(&[])];
    let ranking = async |node: &Node| {
        let report = top("2026-05-01", "2026-05-31", &["south"]);
        let answer = node.top(report, &OLD).await?;
        Ok::<_, tonic::Status>(answer.into_inner().computed_at)
    };
    let kind = |kind: ReportKind| Target::Kind(kind.into());
    let (none, all) = ([false; 3], [true; 3]);
    let cases = [
        (
            Target::Region("north".to_owned()),
            [true, false, true],
            false,
        ),
        (kind(ReportKind::Sales), all, false),
        (kind(ReportKind::TopProducts), none, true),
        (kind(ReportKind::CustomerValue), none, false),
        (Target::All(true), all, true),
    ];
    for (target, sales_dropped, ranking_dropped) in cases {
        for node in [&here, &there] {
            cached(node, &reports).await?;
        }
        let ranked = ranking(&here).await?;
        let told = here.invalidate(target.clone()).await?;
        assert!(!token(told.metadata()).is_empty());
        assert_eq!(dropped(&here, &reports).await?, sales_dropped, "{target:?}");
        let again = ranking(&here).await? != ranked;
        assert_eq!(again, ranking_dropped, "{target:?}");
        // The other replica drops the same, and takes what was computed here.
        for report in &reports {
            let at = async |node: &Node| {
                let answer = node.sales(report.clone(), &OLD).await?;
                Ok::<_, tonic::Status>(answer.into_inner().computed_at)
            };
            let new = at(&here).await?;
            let same = async || at(&there).await.is_ok_and(|at| at == new);
            wait_until("what was computed here", SOON, same).await?;
        }
    }
    assert_eq!(there.computed("reports.sales").await?, 0);
    Ok(())
}

async fn a_refreshed_report_takes_the_place_of_the_old_one_everywhere(home: Home) -> Result<()> {
    let (_, [here, there]) = pair(&home).await?;
    let report = || may(&["north"]);
    for node in [&here, &there] {
        cached(node, &[report(), may(&["south"])]).await?;
    }
    let computed_at = async |node: &Node| {
        let answer = node.sales(report(), &OLD).await?.into_inner();
        let at = answer.computed_at.unwrap_or_default();
        Ok::<_, tonic::Status>((at.seconds, at.nanos))
    };
    let old = computed_at(&there).await?;
    let wanted = refresh_report_request::Report::Sales(report());
    let told = here.refresh(wanted).await?;
    assert!(!token(told.metadata()).is_empty());
    let told = told.into_inner();
    assert_eq!(told.keyspace, "reports.sales");
    assert_eq!(told.key, "1/2026-05-01/2026-05-31/north/month");
    let new = told.computed_at.map(|at| (at.seconds, at.nanos));
    assert_eq!(Some(computed_at(&here).await?), new);
    assert!(new > Some(old));
    let replaced = async || computed_at(&there).await.ok() == new;
    wait_until("the new report", SOON, replaced).await?;
    let computed = here.computed("reports.sales").await? + there.computed("reports.sales").await?;
    assert_eq!(computed, 3, "two at first, and one anew");
    assert_eq!(dropped(&there, &[may(&["south"])]).await?, [false]);
    // The other kinds, by their own requests.
    let days = ("2026-05-01", "2026-05-31");
    let ranking = refresh_report_request::Report::TopProducts(top(days.0, days.1, &[]));
    let told = here.refresh(ranking).await?.into_inner();
    assert_eq!(told.key, "1/2026-05-01/2026-05-31/all/revenue");
    let value = refresh_report_request::Report::CustomerValue(customers(days.0, days.1, &[]));
    let told = here.refresh(value).await?.into_inner();
    assert_eq!(told.key, "1/2026-05-01/2026-05-31/all");
    Ok(())
}

async fn entries_of_another_version_are_neither_read_nor_touched(home: Home) -> Result<()> {
    let hub = Hub::new();
    let name = |version: u32| {
        format!("larder:v1:reports.sales:{version}/2026-05-01/2026-05-31/north/month")
    };
    let node = Node::on(&home, &hub).await?;
    cached(&node, &[may(&["north"])]).await?;
    let stored = async |version| {
        hub.get(&[name(version)])
            .await
            .map(|mut found| found.remove(0))
    };
    let there = async || matches!(stored(1).await, Ok(Some(_)));
    wait_until("the report in the remote tier", SOON, there).await?;
    // What an older release has left, and a newer one will read.
    let left = Item {
        key: name(0),
        value: bytes::Bytes::from_static(b"of another shape"),
        ttl: Duration::from_secs(600),
    };
    hub.set(&[
        left.clone(),
        Item {
            key: name(2),
            ..left.clone()
        },
    ])
    .await?;
    node.record([order("1", "north", "2026-05-31")]).await?;
    let seen = async || {
        node.count(may(&["north"]))
            .await
            .is_ok_and(|told| told.0 == 1)
    };
    wait_until("the order", SOON, seen).await?;
    for version in [0, 2] {
        assert_eq!(stored(version).await?.as_ref(), Some(&left.value));
    }
    Ok(())
}

/// A replica of products on this hub, with a kettle.
async fn shop(home: &Home, hub: &Arc<Hub>) -> Result<(Replica, String)> {
    let replica = Replica::ready(Products, home.parts(hub)).await?;
    let product = Product {
        id: "kettle".to_owned(),
        title: "The kettle".to_owned(),
        ..Product::default()
    };
    let product = Some(product);
    let mut client = ProductServiceClient::new(replica.client());
    client
        .create_product(CreateProductRequest { product })
        .await?;
    let url = format!("http://{}", replica.grpc);
    Ok((replica, url))
}

async fn titles_are_joined_to_a_ranking_and_not_cached_with_it(home: Home) -> Result<()> {
    let hub = Hub::new();
    let (products, url) = shop(&home, &hub).await?;
    let node = Node::of(home.parts(&hub), &url).await?;
    let bought = [
        order("1", "north", "2026-05-31"),
        of(order("2", "north", "2026-05-31"), "ada", "unknown", 1),
    ];
    node.record(bought).await?;
    let titles = async |metadata: &[(&'static str, &str)]| {
        let report = top("2026-05-01", "2026-05-31", &[]);
        let answer = node.top(report, metadata).await?;
        let from = source(answer.metadata()).to_owned();
        let products = answer.into_inner().products.into_iter();
        let titles: Vec<_> = products.map(|product| product.title).collect();
        Ok::<_, tonic::Status>((titles, from))
    };
    assert_eq!(titles(&[]).await?.0, ["The kettle", ""]);
    let renamed = UpdateProductRequest {
        product: Some(Product {
            id: "kettle".to_owned(),
            title: "The other kettle".to_owned(),
            ..Product::default()
        }),
        ..UpdateProductRequest::default()
    };
    let mut client = ProductServiceClient::new(products.client());
    let renamed = client.update_product(renamed).await?;
    let shown = token(renamed.metadata());
    let (seen, _) = titles(&[("larder-token", &shown)]).await?;
    assert_eq!(seen, ["The other kettle", ""]);
    assert_eq!(node.computed("reports.top-products").await?, 1);

    products.stop().await?;
    let stale = async || titles(&[]).await.is_ok_and(|told| told.1 == "stale");
    wait_until("the products to be missed", SOON, stale).await?;
    assert_eq!(titles(&[]).await?.0, ["The other kettle", ""]);
    assert_eq!(node.computed("reports.top-products").await?, 1);
    Ok(())
}

async fn a_product_loaded_by_one_service_is_a_hit_in_the_other(home: Home) -> Result<()> {
    let hub = Hub::new();
    let (products, url) = shop(&home, &hub).await?;
    let mut client = ProductServiceClient::new(products.client());
    let id = "kettle".to_owned();
    client.get_product(GetProductRequest { id }).await?;
    let name = ["larder:v1:products:kettle".to_owned()];
    let stored = async || hub.get(&name).await.is_ok_and(|values| values[0].is_some());
    wait_until("the product in the remote tier", SOON, stored).await?;
    let node = Node::of(home.parts(&hub), &url).await?;
    node.record([order("1", "north", "2026-05-31")]).await?;
    let report = top("2026-05-01", "2026-05-31", &[]);
    let answer = node.top(report, &OLD).await?.into_inner();
    assert_eq!(answer.products[0].title, "The kettle");
    let (_, metrics) = node.replica.admin("/metrics").await?;
    let hit = "larder_reads_total{keyspace=\"products\",outcome=\"l2\"} 1";
    assert!(metrics.contains(hit), "{metrics}");
    Ok(())
}
