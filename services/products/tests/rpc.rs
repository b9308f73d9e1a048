//! Every method and what it refuses, through a real server, on both engines.

use crate::support;

use anyhow::Result;
use futures_util::future::join_all;
use larder_host::on_both;
use larder_host::trial::{Home, fields, reason, said};
use larder_products::sample;
use larder_proto::products::v1::*;
use support::{Node, kettle, page, priced, source, token};
use tonic::{Code, Status};

on_both!(
    a_product_is_created_read_changed_and_deleted,
    an_id_is_made_where_none_is_given,
    a_version_is_never_used_twice_for_one_id,
    what_is_wrong_with_a_request_is_said_by_its_field,
    an_id_that_is_taken_is_refused_and_of_many_at_once_one_wins,
    what_is_missing_is_not_found_and_says_where_that_is_known_from,
    a_write_that_expects_another_version_is_aborted,
    a_mask_says_which_fields_are_written,
    a_batch_answers_what_there_is_in_the_order_asked,
    a_list_is_ordered_by_price_and_then_by_id_on_every_page,
    a_page_token_of_another_list_is_refused,
    a_page_goes_on_where_the_one_before_ended_whatever_came_between,
    a_request_that_is_too_large_is_refused,
);

const STRONG: [(&str, &str); 1] = [("larder-freshness", "strong")];

async fn a_product_is_created_read_changed_and_deleted(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let created = node.create(kettle()).await?;
    assert_eq!(
        created.get_ref(),
        &Product {
            version: 1,
            ..kettle()
        }
    );
    assert_eq!(said(created.metadata(), "larder-version"), "1");
    assert_eq!(source(created.metadata()), "db");
    assert!(!token(created.metadata()).is_empty());

    let first = node.get("kettle").await?;
    assert_eq!(first.get_ref(), created.get_ref());
    let second = node.get("kettle").await?;
    assert_eq!(second.get_ref(), created.get_ref());
    assert_eq!(source(second.metadata()), "l1");
    assert_eq!(said(second.metadata(), "larder-version"), "1");
    assert!(said(second.metadata(), "larder-age-ms").parse::<u64>()? <= 1000);

    let sold = Product {
        stock: 2,
        ..kettle()
    };
    let changed = node.update(sold.clone(), Some(&["stock"]), Some(1)).await?;
    assert_eq!(changed.get_ref(), &Product { version: 2, ..sold });
    assert!(!token(changed.metadata()).is_empty());
    assert_eq!(node.get("kettle").await?.get_ref(), changed.get_ref());

    let deleted = node.delete("kettle", Some(2)).await?;
    assert_eq!(deleted.get_ref(), changed.get_ref());
    assert_eq!(said(deleted.metadata(), "larder-version"), "2");
    assert_eq!(
        node.get("kettle").await.expect_err("deleted").code(),
        Code::NotFound
    );
    node.replica.stop().await
}

async fn an_id_is_made_where_none_is_given(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let one = node
        .create(Product {
            id: String::new(),
            ..kettle()
        })
        .await?
        .into_inner();
    let two = node
        .create(Product {
            id: String::new(),
            ..kettle()
        })
        .await?
        .into_inner();
    assert_ne!(one.id, two.id);
    assert_eq!(node.get(&one.id).await?.into_inner(), one);
    Ok(())
}

async fn a_version_is_never_used_twice_for_one_id(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let mut last = node.create(kettle()).await?.into_inner().version;
    let mut grows = |version: u64| {
        assert!(version > last, "{version} after {last}");
        last = version;
    };
    home.by_hand(
        "products",
        "UPDATE products SET stock = stock - 1 WHERE id = 'kettle'",
    )?;
    grows(
        node.get_asking("kettle", &STRONG)
            .await?
            .into_inner()
            .version,
    );
    node.delete("kettle", None).await?;
    grows(node.create(kettle()).await?.into_inner().version);
    home.by_hand("products", "DELETE FROM products")?;
    home.by_hand(
        "products",
        "INSERT INTO products (id, title) VALUES ('kettle', 'By hand')",
    )?;
    grows(
        node.get_asking("kettle", &STRONG)
            .await?
            .into_inner()
            .version,
    );
    if let Home::Postgres(_) = home {
        home.by_hand("products", "TRUNCATE products")?;
        grows(node.create(kettle()).await?.into_inner().version);
    }
    Ok(())
}

async fn what_is_wrong_with_a_request_is_said_by_its_field(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(kettle()).await?;
    let long = |chars: usize| "x".repeat(chars);
    let first = |size| page("", ProductOrder::Unspecified, size);
    let cheap = || Product {
        price_cents: -1,
        ..kettle()
    };
    let mut wrong: Vec<(&str, Option<Status>)> = vec![
        ("id", node.get("No").await.err()),
        ("id", node.delete("", None).await.err()),
        ("ids[0]", node.batch(&["a_b", "kettle"]).await.err()),
        ("ids", node.batch(&["kettle"; 201]).await.err()),
        ("product.id", node.create(priced("A", "", 1)).await.err()),
        (
            "product.id",
            node.update(priced("", "", 1), None, None).await.err(),
        ),
        (
            "update_mask",
            node.update(kettle(), Some(&[]), None).await.err(),
        ),
        (
            "update_mask",
            node.update(kettle(), Some(&[""]), None).await.err(),
        ),
        (
            "update_mask",
            node.update(kettle(), Some(&["id"]), None).await.err(),
        ),
        (
            "update_mask",
            node.update(kettle(), Some(&["colour"]), None).await.err(),
        ),
        (
            "product.price_cents",
            node.update(cheap(), Some(&["price_cents"]), None)
                .await
                .err(),
        ),
        ("page_size", node.list(first(-1), &[]).await.err()),
        (
            "page_token",
            node.list(
                ListProductsRequest {
                    page_token: "x".into(),
                    ..first(1)
                },
                &[],
            )
            .await
            .err(),
        ),
        (
            "order",
            node.list(
                ListProductsRequest {
                    order: 7,
                    ..first(1)
                },
                &[],
            )
            .await
            .err(),
        ),
        (
            "larder-freshness",
            node.list(first(1), &[("larder-freshness", "x")])
                .await
                .err(),
        ),
        (
            "larder-max-staleness-ms",
            node.get_asking("kettle", &[("larder-max-staleness-ms", "x")])
                .await
                .err(),
        ),
    ];
    for (field, product) in [
        (
            "product.title",
            Product {
                title: String::new(),
                ..kettle()
            },
        ),
        (
            "product.title",
            Product {
                title: long(201),
                ..kettle()
            },
        ),
        (
            "product.description",
            Product {
                description: long(10_001),
                ..kettle()
            },
        ),
        (
            "product.category",
            Product {
                category: long(65),
                ..kettle()
            },
        ),
        (
            "product.category",
            Product {
                category: "a\0b".into(),
                ..kettle()
            },
        ),
        ("product.price_cents", cheap()),
        (
            "product.stock",
            Product {
                stock: -1,
                ..kettle()
            },
        ),
    ] {
        wrong.push((field, node.create(product).await.err()));
    }
    for (field, status) in wrong {
        let status = status.unwrap_or_else(|| panic!("{field} was accepted"));
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
        assert_eq!(fields(&status), [field], "{status}");
        assert_eq!(reason(&status), "INVALID_FIELD");
    }
    // A field that is not written is not looked at.
    node.update(cheap(), Some(&["stock"]), None).await?;
    Ok(())
}

async fn an_id_that_is_taken_is_refused_and_of_many_at_once_one_wins(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    assert_eq!(
        node.get("kettle").await.expect_err("none yet").code(),
        Code::NotFound
    );
    let creations = join_all((0..8).map(|price| node.create(priced("kettle", "", price)))).await;
    let (made, refused): (Vec<_>, Vec<_>) = creations.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 7));
    for status in refused.into_iter().filter_map(Result::err) {
        assert_eq!(status.code(), Code::AlreadyExists, "{status}");
        assert_eq!(reason(&status), "ALREADY_EXISTS");
    }
    let made = made.into_iter().find_map(Result::ok).expect("one");
    assert_eq!(node.get("kettle").await?.get_ref(), made.get_ref());
    Ok(())
}

async fn what_is_missing_is_not_found_and_says_where_that_is_known_from(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    for known_from in ["db", "l1"] {
        let status = node.get("kettle").await.expect_err("missing");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::NotFound, "NOT_FOUND")
        );
        assert_eq!(source(status.metadata()), known_from);
    }
    for status in [
        node.update(kettle(), None, None).await.err(),
        node.delete("kettle", Some(1)).await.err(),
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
    let created = node.create(kettle()).await?.into_inner();
    for status in [
        node.update(kettle(), None, Some(2)).await.err(),
        node.update(kettle(), None, Some(u64::MAX)).await.err(),
        node.delete("kettle", Some(0)).await.err(),
    ] {
        let status = status.expect("another version");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Aborted, "VERSION_MISMATCH")
        );
    }
    assert_eq!(
        node.get_asking("kettle", &STRONG).await?.into_inner(),
        created
    );
    let writes = join_all((0..8).map(|_| node.update(kettle(), None, Some(1)))).await;
    assert_eq!(writes.iter().filter(|write| write.is_ok()).count(), 1);
    Ok(())
}

async fn a_mask_says_which_fields_are_written(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(kettle()).await?;
    let dear = || priced("kettle", "antiques", 90_000);
    let priced = node
        .update(dear(), Some(&["price_cents"]), None)
        .await?
        .into_inner();
    let expected = Product {
        price_cents: 90_000,
        version: 2,
        ..kettle()
    };
    assert_eq!(priced, expected);
    let sparse = Product {
        id: "kettle".into(),
        category: "antiques".into(),
        ..Product::default()
    };
    let populated = node.update(sparse.clone(), None, None).await?.into_inner();
    let expected = Product {
        category: "antiques".into(),
        version: 3,
        ..expected
    };
    assert_eq!(populated, expected);
    let cleared = node
        .update(sparse.clone(), Some(&["stock", "description"]), None)
        .await?;
    let expected = Product {
        stock: 0,
        description: String::new(),
        version: 4,
        ..expected
    };
    assert_eq!(cleared.into_inner(), expected);
    let whole = Product {
        title: "K".into(),
        ..sparse
    };
    let replaced = node
        .update(whole.clone(), Some(&["*"]), None)
        .await?
        .into_inner();
    assert_eq!(
        replaced,
        Product {
            version: 5,
            ..whole
        }
    );
    Ok(())
}

async fn a_batch_answers_what_there_is_in_the_order_asked(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let a = node.create(priced("a", "", 1)).await?.into_inner();
    let b = node.create(priced("b", "", 2)).await?.into_inner();
    let batch = node.batch(&["b", "x", "a", "b", "y"]).await?;
    assert_eq!(batch.get_ref().products, [b.clone(), a.clone()]);
    assert_eq!(batch.get_ref().missing_ids, ["x", "y"]);
    let again = node.batch(&["x", "b"]).await?;
    assert_eq!(source(again.metadata()), "l1");
    assert_eq!(again.get_ref().products, [b]);
    assert_eq!(
        node.batch(&[]).await?.into_inner(),
        BatchGetProductsResponse::default()
    );
    Ok(())
}

async fn a_list_is_ordered_by_price_and_then_by_id_on_every_page(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    for (id, category, price) in [
        ("c", "tea", 5),
        ("b", "tea", 5),
        ("b-1", "tea", 5),
        ("a", "tea", 9),
        ("d", "tea", 0),
        ("e", "tools", 5),
        ("f", "", i64::MAX),
    ] {
        node.create(priced(id, category, price)).await?;
    }
    use ProductOrder::{PriceAscending, PriceDescending, Unspecified};
    for size in [1, 2, 3, 100] {
        for (category, order, expected) in [
            ("tea", PriceAscending, &["d", "b", "b-1", "c", "a"][..]),
            ("tea", Unspecified, &["d", "b", "b-1", "c", "a"]),
            ("tea", PriceDescending, &["a", "b", "b-1", "c", "d"]),
            ("tools", PriceDescending, &["e"]),
            ("none", PriceAscending, &[]),
            ("", PriceAscending, &["d", "b", "b-1", "c", "e", "a", "f"]),
            ("", PriceDescending, &["f", "a", "b", "b-1", "c", "e", "d"]),
        ] {
            for _ in ["loaded", "cached"] {
                assert_eq!(node.walk(&page(category, order, size)).await?, expected);
            }
        }
    }
    let cached = node.list(page("tea", PriceAscending, 2), &[]).await?;
    assert_eq!(source(cached.metadata()), "l1");
    Ok(())
}

async fn a_page_token_of_another_list_is_refused(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    sample::load(&journal(&home).await?, 60, 1, |_| {}).await?;
    use ProductOrder::{PriceAscending, PriceDescending};
    let of_all = node
        .list(page("", PriceAscending, 1), &[])
        .await?
        .into_inner()
        .next_page_token;
    for other in [page("tea", PriceAscending, 1), page("", PriceDescending, 1)] {
        let request = ListProductsRequest {
            page_token: of_all.clone(),
            ..other
        };
        let status = node.list(request, &[]).await.expect_err("another list");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(fields(&status), ["page_token"]);
    }
    let mut tampered = of_all.clone();
    let last = if tampered.pop() == Some('A') {
        'B'
    } else {
        'A'
    };
    tampered.push(last);
    let request = ListProductsRequest {
        page_token: tampered,
        ..page("", PriceAscending, 1)
    };
    let status = node.list(request, &[]).await.expect_err("tampered");
    assert_eq!(
        (status.code(), fields(&status)),
        (Code::InvalidArgument, vec!["page_token".into()])
    );
    // Another size is the same list, and the default order is the cheapest first.
    for other in [
        page("", PriceAscending, 50),
        page("", ProductOrder::Unspecified, 1),
    ] {
        node.list(
            ListProductsRequest {
                page_token: of_all.clone(),
                ..other
            },
            &[],
        )
        .await?;
    }
    Ok(())
}

async fn a_page_goes_on_where_the_one_before_ended_whatever_came_between(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    for (id, price) in [("a", 10), ("b", 20), ("c", 30)] {
        node.create(priced(id, "tea", price)).await?;
    }
    let first = node
        .list(page("tea", ProductOrder::PriceAscending, 2), &[])
        .await?
        .into_inner();
    assert_eq!(first.products.len(), 2);
    // The last one shown is gone, and one came before it.
    node.delete("b", None).await?;
    node.create(priced("new", "tea", 5)).await?;
    let next = page("tea", ProductOrder::PriceAscending, 2);
    let next = ListProductsRequest {
        page_token: first.next_page_token,
        ..next
    };
    let next = node.list(next, &[]).await?.into_inner();
    let ids: Vec<_> = next
        .products
        .iter()
        .map(|product| product.id.as_str())
        .collect();
    assert_eq!(ids, ["c"]);
    assert_eq!(next.next_page_token, "");
    Ok(())
}

async fn a_request_that_is_too_large_is_refused(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let status = node
        .create(Product {
            description: "x".repeat(300 << 10),
            ..kettle()
        })
        .await;
    let status = status.expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(reason(&status), "MESSAGE_TOO_LARGE");
    Ok(())
}

/// A way to write rows without the service.
async fn journal(home: &Home) -> Result<larder_journal::Journal> {
    let parts = home.parts(&larder::remote::hub::Hub::new());
    Ok(larder_host::Opening::of(&parts)
        .journal(&larder_products::Products)
        .await?)
}
