//! JSON over real services, two replicas of each.

use crate::support;

use anyhow::{Result, ensure};
use larder_testkit::wait_until;
use serde_json::json;
use support::world::World;
use support::{Answer, Json as _, SOON};

const TEA: &str = r#"{"id":"tea","title":"Tea","category":"drinks","price_cents":350,"stock":"7"}"#;

async fn make_tea(world: &World) -> Result<Answer> {
    let made = world.gate.send("POST", "/v1/products", &[], TEA).await?;
    assert_eq!(made.status, 201, "{}", made.body);
    Ok(made)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_is_made_read_changed_and_deleted() -> Result<()> {
    let world = World::start().await?;
    let gate = &world.gate;
    let made = make_tea(&world).await?;
    assert_eq!(made.header("location"), "/v1/products/tea");
    assert_eq!(made.header("larder-version"), "1");
    let token = [("larder-token", made.header("larder-token"))];
    let read = gate.get("/v1/products/tea", &token).await?;
    let whole = json!({
        "id": "tea", "title": "Tea", "description": "", "category": "drinks",
        "price_cents": 350, "stock": 7, "version": 1,
    });
    assert_eq!((read.status, read.json()?), (200, whole));
    assert_eq!(read.header("content-type"), "application/json");

    let change = r#"{"title":"Green tea","stock":0}"#;
    let changed = gate.send("PATCH", "/v1/products/tea", &[], change).await?;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let now = changed.json()?;
    // What is not in the body stays, and a zero in it is written.
    assert_eq!(
        (&now["title"], &now["stock"]),
        (&json!("Green tea"), &json!(0))
    );
    assert_eq!(
        (&now["price_cents"], &now["version"]),
        (&json!(350), &json!(2))
    );
    let masked = "/v1/products/tea?update_mask=price_cents";
    let changed = gate
        .send("PATCH", masked, &[], r#"{"title":"No","priceCents":1}"#)
        .await?;
    let now = changed.json()?;
    assert_eq!(
        (&now["title"], &now["price_cents"]),
        (&json!("Green tea"), &json!(1))
    );
    // Who sends back the whole of what he read changes what is his to change.
    let whole = gate
        .send("PATCH", "/v1/products/tea", &[], &changed.body)
        .await?;
    assert_eq!(whole.json()?["version"], 4, "{}", whole.body);

    let gone = gate.send("DELETE", "/v1/products/tea", &[], "").await?;
    assert_eq!(
        (gone.status, &gone.json()?["title"]),
        (200, &json!("Green tea"))
    );
    let token = [("larder-token", gone.header("larder-token"))];
    let read = gate.get("/v1/products/tea", &token).await?;
    assert_eq!(
        (read.status, &read.json()?["reason"]),
        (404, &json!("NOT_FOUND"))
    );
    world.gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_batches_say_what_is_missing() -> Result<()> {
    let world = World::start().await?;
    let gate = &world.gate;
    let mut last = String::new();
    for price in 1..=3 {
        let body =
            format!(r#"{{"id":"p{price}","title":"P","category":"c","price_cents":{price}}}"#);
        let made = gate.send("POST", "/v1/products", &[], &body).await?;
        last = made.header("larder-token").to_owned();
    }
    let token = [("larder-token", last.as_str())];
    let list = "/v1/products?category=c&order=price_descending&page_size=2";
    let page = gate.get(list, &token).await?.json()?;
    let ids = |page: &serde_json::Value| -> Vec<String> {
        let products = page["products"].as_array().cloned().unwrap_or_default();
        let id = |product: serde_json::Value| product["id"].as_str().unwrap_or_default().to_owned();
        products.into_iter().map(id).collect()
    };
    assert_eq!(ids(&page), ["p3", "p2"]);
    let cursor = page["next_page_token"]
        .as_str()
        .expect("another page")
        .to_owned();
    let next = gate
        .get(&format!("{list}&page_token={cursor}"), &token)
        .await?
        .json()?;
    assert_eq!(
        (ids(&next), &next["next_page_token"]),
        (vec!["p1".to_owned()], &json!(""))
    );
    let other = format!("/v1/products?page_token={cursor}");
    let refused = gate.get(&other, &[]).await?;
    assert_eq!(
        (refused.status, &refused.json()?["errors"][0]["field"]),
        (400, &json!("page_token"))
    );

    let batch = gate
        .get("/v1/products:batchGet?ids=p2&ids=none&ids=p1", &token)
        .await?
        .json()?;
    assert_eq!(
        (ids(&batch), &batch["missing_ids"]),
        (vec!["p2".into(), "p1".into()], &json!(["none"]))
    );
    world.gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_live_at_their_product_and_show_their_authors_name() -> Result<()> {
    let world = World::start().await?;
    let gate = &world.gate;
    make_tea(&world).await?;
    let ada = r#"{"id":"ada","displayName":"Ada"}"#;
    let ada = gate.send("POST", "/v1/profiles", &[], ada).await?;
    let comment = r#"{"id":"first","author_id":"ada","body":"Good."}"#;
    let made = gate
        .send("POST", "/v1/products/tea/comments", &[], comment)
        .await?;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.header("location"), "/v1/comments/first");
    let tokens = [
        ("larder-token", ada.header("larder-token")),
        ("larder-token", made.header("larder-token")),
    ];
    let list = gate
        .get("/v1/products/tea/comments", &tokens)
        .await?
        .json()?;
    let shown = &list["comments"][0];
    assert_eq!(
        (&shown["body"], &shown["author_display_name"]),
        (&json!("Good."), &json!("Ada"))
    );
    let joined = tokens.map(|(_, token)| token).join(", ");
    let read = gate
        .get("/v1/comments/first", &[("larder-token", &joined)])
        .await?;
    let tag = read.header("etag").to_owned();

    // Another name is another state, although the comment's version is the same.
    let renamed = gate
        .send(
            "PATCH",
            "/v1/profiles/ada",
            &[],
            r#"{"display_name":"Countess"}"#,
        )
        .await?;
    let token = [
        ("larder-token", renamed.header("larder-token")),
        ("if-none-match", &tag),
    ];
    let read = gate.get("/v1/comments/first", &token).await?;
    assert_eq!(
        (read.status, &read.json()?["author_display_name"]),
        (200, &json!("Countess"))
    );
    // And either tag names the version that a change wants to find.
    let moved = r#"{"body":"Very good."}"#;
    let changed = gate
        .send("PATCH", "/v1/comments/first", &[("if-match", &tag)], moved)
        .await?;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let other = r#"{"product_id":"coffee","body":"x"}"#;
    let refused = gate
        .send("POST", "/v1/products/tea/comments", &[], other)
        .await?;
    let problem = refused.json()?;
    assert_eq!(
        problem["errors"][0]["field"], "comment.product_id",
        "{problem}"
    );
    world.gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_is_a_problem_that_names_it() -> Result<()> {
    let world = World::start().await?;
    make_tea(&world).await?;
    let long = format!(r#"{{"title":"{}"}}"#, "x".repeat(2 << 20));
    let bad = |field| (400, "INVALID_FIELD", field);
    let of_products = "/v1/products";
    let tea = "/v1/products/tea";
    let cases = [
        ("POST", of_products, "", TEA, (409, "ALREADY_EXISTS", "")),
        (
            "POST",
            of_products,
            "",
            r#"{"title":""}"#,
            bad("product.title"),
        ),
        (
            "POST",
            of_products,
            "",
            r#"{"title":"x","price_cents":-1}"#,
            bad("product.price_cents"),
        ),
        (
            "POST",
            of_products,
            "",
            r#"{"title":"x","price_cents":1.5}"#,
            bad("product.price_cents"),
        ),
        (
            "POST",
            of_products,
            "",
            r#"{"title":"x","price_cents":9223372036854775808}"#,
            bad("product.price_cents"),
        ),
        (
            "POST",
            of_products,
            "",
            r#"{"title":7}"#,
            bad("product.title"),
        ),
        (
            "POST",
            of_products,
            "",
            r#"{"titel":"x"}"#,
            bad("product.titel"),
        ),
        ("POST", of_products, "", r#"{"title":"#, bad("product")),
        ("POST", of_products, "", "[]", bad("product")),
        ("POST", of_products, "", "\u{7f}", bad("product")),
        ("POST", of_products, "", &long, (413, "BODY_TOO_LARGE", "")),
        ("GET", "/v1/products/UPPER", "", "", bad("id")),
        ("GET", "/v1/products/none", "", "", (404, "NOT_FOUND", "")),
        ("GET", "/v1/products?page_size=-1", "", "", bad("page_size")),
        (
            "GET",
            "/v1/products?page_size=many",
            "",
            "",
            bad("page_size"),
        ),
        (
            "GET",
            "/v1/products?page_size=1&page_size=2",
            "",
            "",
            bad("page_size"),
        ),
        (
            "GET",
            "/v1/products?page_token=nonsense",
            "",
            "",
            bad("page_token"),
        ),
        ("GET", "/v1/products?order=sideways", "", "", bad("order")),
        ("GET", "/v1/products?colour=red", "", "", bad("colour")),
        (
            "GET",
            tea,
            "larder-freshness: stale",
            "",
            bad("larder-freshness"),
        ),
        (
            "GET",
            tea,
            "larder-max-staleness-ms: -1",
            "",
            bad("larder-max-staleness-ms"),
        ),
        ("GET", tea, "larder-token: forged", "", bad("larder-token")),
        ("PATCH", tea, "", r#"{"id":"coffee"}"#, bad("product.id")),
        (
            "PATCH",
            "/v1/products/tea?update_mask=colour",
            "",
            "{}",
            bad("update_mask"),
        ),
        (
            "PATCH",
            tea,
            "if-match: nonsense",
            r#"{"stock":1}"#,
            bad("If-Match"),
        ),
        (
            "PATCH",
            tea,
            "if-match: \"1\", \"2\"",
            r#"{"stock":1}"#,
            bad("If-Match"),
        ),
        (
            "PATCH",
            tea,
            "if-match: \"9\"",
            r#"{"stock":1}"#,
            (412, "VERSION_MISMATCH", ""),
        ),
        (
            "DELETE",
            tea,
            "if-match: \"9\"",
            "",
            (412, "VERSION_MISMATCH", ""),
        ),
        (
            "DELETE",
            "/v1/products/tea?expected_version=9",
            "",
            "",
            (409, "VERSION_MISMATCH", ""),
        ),
        (
            "DELETE",
            "/v1/products/tea?expected_version=x",
            "",
            "",
            bad("expected_version"),
        ),
        ("PUT", tea, "", TEA, (405, "METHOD_NOT_ALLOWED", "")),
        ("GET", "/v2/products", "", "", (404, "NO_SUCH_PATH", "")),
        (
            "GET",
            "/v1/reports/sales",
            "",
            "",
            (503, "PEER_UNAVAILABLE", ""),
        ),
    ];
    for (method, path, header, body, (status, reason, field)) in cases {
        let header: Vec<_> = header.split_once(": ").into_iter().collect();
        let answer = world.gate.send(method, path, &header, body).await?;
        let case = format!("{method} {path} {header:?} {}: {}", body.len(), answer.body);
        assert_eq!(answer.status, status, "{case}");
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{case}"
        );
        let problem = answer.json()?;
        assert_eq!(
            (&problem["status"], &problem["reason"]),
            (&json!(status), &json!(reason)),
            "{case}"
        );
        let told = problem["errors"][0]["field"].as_str().unwrap_or_default();
        assert_eq!(told, field, "{case}");
    }
    let answer = world.gate.send("PUT", tea, &[], "").await?;
    let allowed: Vec<_> = answer
        .header("allow")
        .split(',')
        .map(str::to_owned)
        .collect();
    assert!(
        ["GET", "PATCH", "DELETE"]
            .iter()
            .all(|method| allowed.contains(&(*method).to_owned())),
        "{allowed:?}"
    );
    let away = world.gate.get("/v1/reports/sales", &[]).await?;
    assert_eq!(away.header("retry-after"), "1");
    world.gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_the_state_is_spared_it() -> Result<()> {
    let world = World::start().await?;
    let gate = &world.gate;
    let made = make_tea(&world).await?;
    let token = ("larder-token", made.header("larder-token"));
    let read = gate.get("/v1/products/tea", &[token]).await?;
    let one = read.header("etag").to_owned();
    ensure!(one.starts_with("\"1-"), "{one}");
    for known in [&*one, &format!("W/{one}"), &format!("\"0\", {one}"), "*"] {
        let again = gate
            .get("/v1/products/tea", &[token, ("if-none-match", known)])
            .await?;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{known}");
        assert_eq!(again.header("etag"), one);
    }
    // In another life of the database the same version may have been another product.
    for other in ["\"1\"", "\"1-00\""] {
        let read = gate
            .get("/v1/products/tea", &[token, ("if-none-match", other)])
            .await?;
        assert_eq!(read.status, 200, "{other}");
    }
    let list = gate.get("/v1/products", &[token]).await?;
    let tag = ("if-none-match", list.header("etag"));
    assert_eq!(gate.get("/v1/products", &[token, tag]).await?.status, 304);

    let if_one = [("if-match", "\"1\"")];
    let changed = gate
        .send("PATCH", "/v1/products/tea", &if_one, r#"{"stock":1}"#)
        .await?;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let token = ("larder-token", changed.header("larder-token"));
    let read = gate
        .get("/v1/products/tea", &[token, ("if-none-match", &one)])
        .await?;
    ensure!(
        read.status == 200 && read.header("etag").starts_with("\"2-"),
        "{read:?}"
    );
    assert_eq!(gate.get("/v1/products", &[token, tag]).await?.status, 200);
    let late = gate
        .send("PATCH", "/v1/products/tea", &if_one, r#"{"stock":2}"#)
        .await?;
    assert_eq!(late.status, 412);
    world.gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_the_cache_and_told_of_an_answer_passes_through() -> Result<()> {
    let world = World::start().await?;
    let gate = &world.gate;
    make_tea(&world).await?;
    wait_until("an answer from memory", SOON, async || {
        let read = gate.get("/v1/products/tea", &[]).await;
        read.is_ok_and(|read| read.header("larder-source") == "l1")
    })
    .await?;
    let strong = gate
        .get("/v1/products/tea", &[("larder-freshness", "strong")])
        .await?;
    assert_eq!(strong.header("larder-source"), "db");
    assert_eq!(strong.header("larder-version"), "1");
    let loose = [("larder-max-staleness-ms", "60000")];
    let loose = gate.get("/v1/products/tea", &loose).await?;
    let age: u64 = loose.header("larder-age-ms").parse()?;
    assert!(age <= 60_000, "{age}");
    world.gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_shows_the_token_sees_the_write_whichever_replica_answers() -> Result<()> {
    let world = World::start().await?;
    let gate = &world.gate;
    make_tea(&world).await?;
    for stock in 1..=40 {
        // Copies of the old state lie in the memory of both.
        for _ in 0..2 {
            gate.get("/v1/products/tea", &[]).await?;
        }
        let change = format!(r#"{{"stock":{stock}}}"#);
        let changed = gate.send("PATCH", "/v1/products/tea", &[], &change).await?;
        let token = [("larder-token", changed.header("larder-token"))];
        for _ in 0..2 {
            let read = gate.get("/v1/products/tea", &token).await?;
            assert_eq!(read.json()?["stock"], stock, "{:?}", read.headers);
        }
    }
    world.gate.stop().await
}
