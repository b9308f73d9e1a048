//! What callers are answered, and what they are told when they ask for nonsense.

use crate::support;

use anyhow::Result;
use larder_host::on_both;
use larder_host::trial::{Home, fields, reason};
use larder_proto::reports::v1::*;
use larder_testkit::wait_until;
use support::*;
use tonic::{Code, Status};

on_both!(
    a_sales_report_counts_every_period_and_the_whole,
    weeks_and_days_are_cut_where_the_report_ends,
    top_products_are_ranked_by_revenue_or_units,
    customers_come_page_by_page_from_one_report,
    what_means_the_same_is_computed_once,
    orders_are_recorded_once_and_the_refused_are_told_by_place,
    a_long_stream_is_recorded_in_batches,
    a_token_shows_the_orders_that_were_recorded,
    nonsense_is_refused_by_field,
);

async fn a_sales_report_counts_every_period_and_the_whole(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let orders = [
        of(order("1", "north", "2026-03-31"), "ada", "kettle", 1),
        of(order("2", "north", "2026-05-01"), "ada", "kettle", 2),
        of(order("3", "south", "2026-05-31"), "bob", "teapot", 3),
        of(order("4", "west", "2026-05-31"), "ada", "kettle", 4),
        of(order("5", "west", "2026-06-01"), "cyd", "kettle", 5),
    ];
    node.record(orders).await?;
    let report = node.sales(sales("2026-03-31", "2026-05-31", &[]), &[]);
    let report = report.await?.into_inner();
    let period = |first: &str, last: &str, [orders, units, customers]: [i64; 3]| SalesPeriod {
        first_day: first.to_owned(),
        last_day: last.to_owned(),
        orders,
        units,
        revenue_cents: units * 1999,
        customers,
    };
    let expected = [
        period("2026-03-31", "2026-03-31", [1, 1, 1]),
        period("2026-04-01", "2026-04-30", [0, 0, 0]),
        period("2026-05-01", "2026-05-31", [3, 9, 2]),
    ];
    assert_eq!(report.periods, expected);
    let whole = period("2026-03-31", "2026-05-31", [4, 10, 2]);
    assert_eq!(report.total, Some(whole));
    assert_eq!(
        report.regions,
        ["central", "east", "north", "south", "west"]
    );
    assert!(report.computed_at.is_some());

    let some = node.sales(may(&["west", "north"]), &[]).await?.into_inner();
    assert_eq!(some.regions, ["north", "west"]);
    let whole = period("2026-05-01", "2026-05-31", [2, 6, 1]);
    assert_eq!(
        (some.periods, some.total),
        (vec![whole.clone()], Some(whole))
    );
    let none = node.sales(may(&["east"]), &[]).await?.into_inner();
    let none = none.total.unwrap_or_default();
    assert_eq!((none.orders, none.units, none.revenue_cents), (0, 0, 0));
    Ok(())
}

async fn weeks_and_days_are_cut_where_the_report_ends(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    // The first of May 2026 is a Friday.
    let days = [
        "2026-05-01",
        "2026-05-03",
        "2026-05-04",
        "2026-05-10",
        "2026-05-11",
    ];
    let orders = days.map(|day| order(&format!("o-{day}"), "north", day));
    node.record(orders).await?;
    let cut = async |bucket: SalesBucket| {
        let report = GetSalesReportRequest {
            bucket: bucket.into(),
            ..sales("2026-05-01", "2026-05-12", &["north"])
        };
        let report = node.sales(report, &[]).await?.into_inner();
        let periods = report.periods.into_iter();
        let counted = periods.map(|period| {
            let day = |day: &str| day.rsplit('-').next().unwrap_or_default().to_owned();
            (day(&period.first_day), day(&period.last_day), period.orders)
        });
        Ok::<_, Status>(counted.collect::<Vec<_>>())
    };
    let own =
        |(first, last, orders): (&str, &str, i64)| (first.to_owned(), last.to_owned(), orders);
    let weeks = [("01", "03", 2), ("04", "10", 2), ("11", "12", 1)];
    assert_eq!(cut(SalesBucket::Week).await?, weeks.map(own));
    let days = cut(SalesBucket::Unspecified).await?;
    assert_eq!(days.len(), 12);
    let busy = days.into_iter().filter(|(_, _, orders)| *orders > 0);
    let busy: Vec<_> = busy.map(|(first, _, _)| first).collect();
    assert_eq!(busy, ["01", "03", "04", "10", "11"]);
    Ok(())
}

async fn top_products_are_ranked_by_revenue_or_units(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let priced = |order: Order, price_cents| Order {
        price_cents,
        ..order
    };
    let day = "2026-05-31";
    node.record([
        priced(of(order("1", "north", day), "ada", "cup", 9), 100),
        priced(of(order("2", "south", day), "bob", "kettle", 1), 2000),
        priced(of(order("3", "north", day), "ada", "kettle", 1), 2000),
        priced(of(order("4", "north", day), "ada", "bowl", 9), 100),
        priced(of(order("5", "north", "2026-06-01"), "ada", "cup", 99), 100),
    ])
    .await?;
    let ranked = async |report: GetTopProductsRequest| {
        let report = node.top(report, &[]).await?.into_inner();
        let products = report.products.into_iter();
        let ids = products.map(|product| product.product_id);
        Ok::<_, Status>(ids.collect::<Vec<_>>())
    };
    let may = || top("2026-05-01", day, &[]);
    assert_eq!(ranked(may()).await?, ["kettle", "bowl", "cup"]);
    let units = GetTopProductsRequest {
        order: TopProductsOrder::Units.into(),
        limit: 2,
        ..may()
    };
    assert_eq!(ranked(units).await?, ["bowl", "cup"]);
    let south = top("2026-05-01", day, &["south"]);
    assert_eq!(ranked(south).await?, ["kettle"]);
    let best = node.top(may(), &[]).await?.into_inner().products.remove(0);
    let numbers = (best.orders, best.units, best.revenue_cents, best.customers);
    assert_eq!(numbers, (2, 2, 4000, 2));
    // Two limits of one ranking are one report.
    assert_eq!(node.computed("reports.top-products").await?, 3);
    Ok(())
}

async fn customers_come_page_by_page_from_one_report(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let orders = (0..7).map(|n| {
        let day = format!("2026-05-{:02}", n + 1);
        let order = order(&format!("o-{n}"), "north", &day);
        of(order, &format!("c-{}", n % 5), "kettle", 10 - n)
    });
    node.record(orders).await?;
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = GetCustomerValueRequest {
            page_size: 2,
            page_token,
            ..customers("2026-05-01", "2026-05-31", &[])
        };
        let page = node.customers(request, &[]).await?.into_inner();
        assert_eq!((page.customer_count, page.revenue_cents), (5, 49 * 1999));
        seen.extend(page.customers);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let ids: Vec<_> = seen
        .iter()
        .map(|one| (one.rank, &*one.customer_id))
        .collect();
    assert_eq!(
        ids,
        [(1, "c-0"), (2, "c-1"), (3, "c-2"), (4, "c-3"), (5, "c-4")]
    );
    let best = &seen[0];
    assert_eq!((best.orders, best.units, best.products), (2, 15, 1));
    let at = |moment: &Option<prost_types::Timestamp>| moment.map_or(0, |at| at.seconds);
    let between = at(&best.last_order_at) - at(&best.first_order_at);
    assert_eq!(between, 5 * 24 * 3600);
    assert_eq!(node.computed("reports.customer-value").await?, 1);
    Ok(())
}

async fn what_means_the_same_is_computed_once(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let one = may(&["south", "north"]);
    let same = [
        may(&["north", "south"]),
        may(&["north", "south", "north"]),
        one.clone(),
    ];
    for report in same {
        node.sales(report, &[]).await?;
    }
    assert_eq!(node.computed("reports.sales").await?, 1);
    // The last month by default, and by its days.
    let report = node.sales(GetSalesReportRequest::default(), &[]).await?;
    let days = report.into_inner().total.unwrap_or_default();
    let said = GetSalesReportRequest {
        bucket: SalesBucket::Day.into(),
        ..sales(
            &days.first_day,
            &days.last_day,
            &["central", "east", "north", "south", "west"],
        )
    };
    let (_, from) = node.count(said).await?;
    assert_eq!(from, "l1");
    assert_eq!(node.computed("reports.sales").await?, 2);
    Ok(())
}

async fn orders_are_recorded_once_and_the_refused_are_told_by_place(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let good = |id: &str| order(id, "north", "2026-05-31");
    let first = [good("1"), order("2", "mars", "2026-05-31"), good("3")];
    let second = [good("1"), of(good("5"), "ada", "kettle", 0), good("6")];
    let stream = [first, second].map(|orders| RecordOrdersRequest {
        orders: orders.to_vec(),
    });
    let told = node.stream(stream.clone()).await?.into_inner();
    assert_eq!((told.received, told.recorded), (6, 3));
    assert_eq!((told.known, told.refused), (1, 2));
    let refusals = told.refusals.iter();
    let refusals = refusals.map(|told| (told.place, &*told.id, &*told.field));
    let expected = [(1, "2", "region"), (4, "5", "quantity")];
    assert_eq!(refusals.collect::<Vec<_>>(), expected);
    let again = node.stream(stream).await?.into_inner();
    assert_eq!((again.recorded, again.known), (0, 4));
    assert_eq!(node.count(may(&[])).await?.0, 3);
    // However many are refused, the answer has a bound.
    let wrong = (0..300).map(|_| order("x", "mars", "2026-05-31"));
    let told = node.record(wrong).await?.into_inner();
    assert_eq!((told.refused, told.refusals.len()), (300, 100));
    Ok(())
}

async fn a_long_stream_is_recorded_in_batches(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let message = |n: u64| RecordOrdersRequest {
        orders: (0..400)
            .map(|m| order(&format!("o-{n}-{m}"), "north", "2026-05-31"))
            .collect(),
    };
    let told = node.stream((0..10).map(message)).await?.into_inner();
    assert_eq!((told.received, told.recorded), (4000, 4000));
    assert_eq!(node.count(may(&[])).await?.0, 4000);
    let lines = "SELECT count(*) FROM journal WHERE tag LIKE 'orders%'";
    let lines: u64 = home.by_hand("reports", lines)?.trim().parse()?;
    assert!((2..=20).contains(&lines), "{lines} lines for 4000 orders");
    let huge = RecordOrdersRequest {
        orders: vec![order("x", "north", "2026-05-31"); 1001],
    };
    let refused = node.stream([message(100), huge]).await.expect_err("huge");
    assert_eq!(fields(&refused), ["orders"]);
    Ok(())
}

async fn a_token_shows_the_orders_that_were_recorded(home: Home) -> Result<()> {
    let hub = larder::remote::hub::Hub::new();
    let here = Node::on(&home, &hub).await?;
    let mut parts = home.parts(&hub);
    parts.timing.poll = None;
    let there = Node::of(parts, NOBODY).await?;
    assert_eq!(there.count(may(&[])).await?.0, 0);
    hub.set_faults(larder::remote::hub::Faults {
        lose_every: 1,
        ..Default::default()
    });
    let recorded = here.record([order("1", "north", "2026-05-31")]).await?;
    assert_eq!(there.count(may(&[])).await?.0, 0, "it has not heard");
    let shown = token(recorded.metadata());
    let asked = [("larder-token", shown.as_str()), OLD[0]];
    let seen = there.sales(may(&[]), &asked).await?.into_inner();
    assert_eq!(seen.total.unwrap_or_default().orders, 1);
    Ok(())
}

async fn nonsense_is_refused_by_field(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let ranges = [
        (sales("2026-05-31", "2026-05-01", &[]), "last_day"),
        (sales("2026-02-30", "2026-05-01", &[]), "first_day"),
        (sales("0001-01-01", "9999-12-31", &[]), "first_day"),
        (sales("2000-01-01", "2099-12-31", &[]), "last_day"),
        (sales("2026-05-01", "", &[]), "last_day"),
        (sales("05/01/2026", "2026-05-31", &[]), "first_day"),
        (may(&["north", "mars"]), "regions[1]"),
        (
            GetSalesReportRequest {
                bucket: 9,
                ..may(&[])
            },
            "bucket",
        ),
    ];
    for (report, field) in ranges {
        refused(node.sales(report, &[]).await, field);
    }
    let negative = GetTopProductsRequest {
        limit: -1,
        ..GetTopProductsRequest::default()
    };
    refused(node.top(negative, &[]).await, "limit");
    let negative = GetCustomerValueRequest {
        page_size: -1,
        ..GetCustomerValueRequest::default()
    };
    refused(node.customers(negative, &[]).await, "page_size");
    let huge = GetCustomerValueRequest {
        page_size: i32::MAX,
        ..GetCustomerValueRequest::default()
    };
    assert!(node.customers(huge, &[]).await.is_ok(), "it is clamped");

    let orders = [("1", "ada"), ("2", "bob")];
    let orders = orders.map(|(id, who)| of(order(id, "north", "2026-05-31"), who, "kettle", 1));
    node.record(orders).await?;
    let page = GetCustomerValueRequest {
        page_size: 1,
        ..customers("2026-05-01", "2026-05-31", &[])
    };
    let both = async || {
        let page = node.customers(page.clone(), &[]).await;
        page.is_ok_and(|page| !page.get_ref().next_page_token.is_empty())
    };
    wait_until("both customers", PATIENCE, both).await?;
    let token = node
        .customers(page, &[])
        .await?
        .into_inner()
        .next_page_token;
    for (request, page_token) in [
        (
            customers("2026-05-01", "2026-05-31", &["north"]),
            token.clone(),
        ),
        (customers("2026-05-01", "2026-05-30", &[]), token),
        (
            customers("2026-05-01", "2026-05-31", &[]),
            "nonsense".to_owned(),
        ),
    ] {
        let request = GetCustomerValueRequest {
            page_token,
            ..request
        };
        refused(node.customers(request, &[]).await, "page_token");
    }

    use invalidate_reports_request::Target;
    for (target, field) in [
        (Target::Kind(0), "kind"),
        (Target::Kind(99), "kind"),
        (Target::Region("mars".to_owned()), "region"),
        (Target::All(false), "all"),
    ] {
        refused(node.invalidate(target).await, field);
    }
    let nothing = InvalidateReportsRequest { target: None };
    refused(
        node.client.clone().invalidate_reports(nothing).await,
        "target",
    );
    let nothing = RefreshReportRequest { report: None };
    refused(node.client.clone().refresh_report(nothing).await, "report");
    let reversed = refresh_report_request::Report::Sales(sales("2026-05-31", "2026-05-01", &[]));
    refused(node.refresh(reversed).await, "sales.last_day");
    Ok(())
}

fn refused<T>(answer: Result<T, Status>, field: &str) {
    let refused = answer.err().expect(field);
    assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
    assert_eq!(reason(&refused), "INVALID_FIELD");
    assert_eq!(fields(&refused), [field]);
}
