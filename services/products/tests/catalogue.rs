//! The names of what there is: categories, and the ids of all products, on both engines.

use crate::support;

use anyhow::Result;
use larder_host::on_both;
use larder_host::trial::{Home, fields};
use larder_proto::products::v1::*;
use support::{Node, priced, source, token};
use tonic::{Code, Request};

on_both!(
    categories_are_listed_once_each_in_the_order_of_their_bytes,
    a_category_is_there_with_its_first_product_and_gone_with_its_last,
    every_id_is_listed_once_whatever_the_size_of_pages,
    a_row_changed_by_hand_moves_the_names,
    a_token_or_a_size_that_is_wrong_is_said_by_its_field,
);

async fn categories(node: &Node, size: i32) -> Result<Vec<String>> {
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let request = ListCategoriesRequest {
            page_size: size,
            page_token: next,
        };
        let page = node.client.clone().list_categories(request).await?;
        let page = page.into_inner();
        assert!(page.categories.len() <= size as usize);
        all.extend(page.categories);
        next = page.next_page_token;
        if next.is_empty() {
            return Ok(all);
        }
    }
}

async fn ids(node: &Node, size: i32) -> Result<Vec<String>> {
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let request = ListProductIdsRequest {
            page_size: size,
            page_token: next,
        };
        let page = node.client.clone().list_product_ids(request).await?;
        let page = page.into_inner();
        all.extend(page.ids);
        next = page.next_page_token;
        if next.is_empty() {
            return Ok(all);
        }
    }
}

async fn categories_are_listed_once_each_in_the_order_of_their_bytes(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    assert_eq!(categories(&node, 3).await?, [""; 0]);
    let named = ["tea", "Zinc", "a/b", "tea", "été", "", "'; --", "tea"];
    for (number, category) in named.iter().enumerate() {
        node.create(priced(&format!("p{number}"), category, 1))
            .await?;
    }
    let expected = ["'; --", "Zinc", "a/b", "tea", "été"];
    for size in [1, 2, 5, 1000] {
        for _ in ["loaded", "cached"] {
            assert_eq!(categories(&node, size).await?, expected, "{size} to a page");
        }
    }
    let page = node
        .client
        .clone()
        .list_categories(ListCategoriesRequest {
            page_size: 5,
            ..Default::default()
        })
        .await?;
    assert_eq!(source(page.metadata()), "l1");
    Ok(())
}

async fn a_category_is_there_with_its_first_product_and_gone_with_its_last(
    home: Home,
) -> Result<()> {
    let node = Node::alone(&home).await?;
    let listed = async |token: String| -> Result<Vec<String>> {
        let mut request = Request::new(ListCategoriesRequest::default());
        request
            .metadata_mut()
            .insert("larder-token", token.parse()?);
        let page = node.client.clone().list_categories(request).await?;
        Ok(page.into_inner().categories)
    };
    let made = node.create(priced("oolong", "tea", 1)).await?;
    assert_eq!(listed(token(made.metadata())).await?, ["tea"]);
    let moved = node
        .update(priced("oolong", "leaves", 1), Some(&["category"]), None)
        .await?;
    assert_eq!(listed(token(moved.metadata())).await?, ["leaves"]);
    let gone = node.delete("oolong", None).await?;
    assert_eq!(listed(token(gone.metadata())).await?, [""; 0]);
    Ok(())
}

async fn every_id_is_listed_once_whatever_the_size_of_pages(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let expected = ["a", "a-1", "a0", "b", "z9"];
    for id in ["b", "a0", "z9", "a", "a-1"] {
        node.create(priced(id, "", 1)).await?;
    }
    for size in [1, 2, 4, 5, 10_000] {
        assert_eq!(ids(&node, size).await?, expected, "{size} to a page");
    }
    // Nobody could ask for it.
    home.by_hand(
        "products",
        "INSERT INTO products (id, title) VALUES ('No <id>', 'By hand')",
    )?;
    let strong = [("larder-freshness", "strong")];
    let all = larder_host::trial::asking(ListProductIdsRequest::default(), &strong);
    let all = node.client.clone().list_product_ids(all).await?;
    assert_eq!(all.into_inner().ids, expected);
    Ok(())
}

async fn a_row_changed_by_hand_moves_the_names(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    node.create(priced("oolong", "tea", 1)).await?;
    assert_eq!(categories(&node, 10).await?, ["tea"]);
    assert_eq!(ids(&node, 10).await?, ["oolong"]);
    let emptied = match home {
        Home::Sqlite(_) => "DELETE FROM products",
        Home::Postgres(_) => "TRUNCATE products",
    };
    home.by_hand("products", emptied)?;
    let gone = async || {
        let names = (categories(&node, 10).await, ids(&node, 10).await);
        matches!(names, (Ok(categories), Ok(ids)) if categories.is_empty() && ids.is_empty())
    };
    larder_testkit::wait_until("no names", larder_host::trial::SOON, gone).await
}

async fn a_token_or_a_size_that_is_wrong_is_said_by_its_field(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    for (size, token, field) in [(-1, "", "page_size"), (1, "x", "page_token")] {
        let of_categories = ListCategoriesRequest {
            page_size: size,
            page_token: token.to_owned(),
        };
        let of_ids = ListProductIdsRequest {
            page_size: size,
            page_token: token.to_owned(),
        };
        let categories = node.client.clone().list_categories(of_categories).await;
        let ids = node.client.clone().list_product_ids(of_ids).await;
        for status in [categories.err(), ids.err()] {
            let status = status.expect("wrong");
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_eq!(fields(&status), [field]);
        }
    }
    Ok(())
}
