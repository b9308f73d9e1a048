//! Pages, as browsers and crawlers get them, of real services on both engines.

use crate::shop;
use crate::support;

use anyhow::Result;
use larder_host::on_both;
use larder_host::trial::Home;
use larder_proto::products::v1::Product;
use shop::{Shop, bytes, data, kettle, thing};
use std::io::Read as _;

on_both!(
    a_page_shows_the_product_and_what_people_say_of_it,
    a_copy_that_is_still_good_costs_no_page,
    a_write_changes_the_tag_at_once_for_whoever_shows_its_token,
    each_version_of_a_part_is_rendered_once_and_by_itself,
    a_category_shows_all_of_its_products_in_either_order,
    without_comments_a_page_is_shown_and_not_kept,
);

/// So that what is seen is due to the token alone.
const OLD: (&str, &str) = ("larder-max-staleness-ms", "60000");

async fn a_page_shows_the_product_and_what_people_say_of_it(home: Home) -> Result<()> {
    let shop = Shop::open(home).await?;
    shop.stock(kettle()).await?;
    shop.name("ada", "Ada Lovelace").await?;
    for number in 0..21 {
        let (id, body) = (
            format!("c{number:02}"),
            format!("It boiled {number} times."),
        );
        shop.say(&id, "kettle", "ada", &body).await?;
    }
    shop.say("c99", "kettle", "nobody", "Who am I?").await?;
    let page = shop.get("/products/kettle", &[]).await?;
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("larder-version"), "1");
    assert!(["l1", "l2", "db"].contains(&page.header("larder-source")));
    assert!(page.header("larder-age-ms").parse::<u64>()? <= 1000);
    for shown in [
        "<h1 dir=\"auto\">The kettle</h1>",
        "<data value=\"1999.00\">€1,999.00</data>",
        "In stock: 30",
        "Ada Lovelace",
        "It boiled 20 times.",
        "Somebody who is gone",
        "<link rel=\"canonical\" href=\"https://shop.example/products/kettle\">",
        "<meta property=\"og:title\" content=\"The kettle\">",
        "<meta name=\"description\" content=\"€1,999.00 · It does one thing well.\">",
    ] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    assert!(
        !page.body.contains("It boiled 1 times."),
        "it is on the next"
    );
    let known = data(&page.body)?;
    let product = known.iter().find(|data| data["@type"] == "Product");
    let offer = &product.expect("a product")["offers"];
    assert_eq!(offer["price"], "1999.00");
    assert_eq!(offer["availability"], "https://schema.org/InStock");
    let comments = known.iter().find(|data| data["@graph"].is_array());
    let comments = comments.expect("comments")["@graph"].as_array();
    assert_eq!(comments.map(Vec::len), Some(20));

    let (_, older) = page
        .body
        .split_once("rel=\"next\" href=\"")
        .expect("a link");
    let (older, _) = older.split_once("#comments").expect("its end");
    let older = shop.get(older, &[]).await?;
    assert_eq!(older.status, 200);
    assert!(older.body.contains("It boiled 1 times."), "{}", older.body);
    assert!(older.body.contains("Newest comments") && !older.body.contains("Older comments"));
    assert!(
        older
            .body
            .contains("rel=\"canonical\" href=\"https://shop.example/products/kettle\"")
    );
    Ok(())
}

async fn a_copy_that_is_still_good_costs_no_page(home: Home) -> Result<()> {
    let shop = Shop::open(home).await?;
    shop.stock(kettle()).await?;
    shop.stock(thing("pot", "kitchen", 100)).await?;
    for path in ["/products/kettle", "/categories/kitchen", "/"] {
        let page = shop.get(path, &[]).await?;
        assert_eq!(page.status, 200, "{path}");
        let (tag, time) = (page.header("etag"), page.header("last-modified"));
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        let kept = "public, max-age=5, stale-while-revalidate=30";
        assert_eq!(page.header("cache-control"), kept);
        assert!(
            page.headers
                .iter()
                .any(|(name, value)| name == "vary" && value == "accept-encoding")
        );
        assert!(
            page.header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        let head = shop.head(path, &[]).await?;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("content-length"), page.body.len().to_string());
        assert_eq!(
            (head.header("etag"), head.header("last-modified")),
            (tag, time)
        );
        for copy in [
            ("if-none-match", tag.to_owned()),
            ("if-none-match", format!("\"other\", W/{tag}")),
            ("if-none-match", "*".to_owned()),
            ("if-modified-since", time.to_owned()),
        ] {
            for same in [
                shop.get(path, &[(copy.0, &copy.1)]).await?,
                shop.head(path, &[(copy.0, &copy.1)]).await?,
            ] {
                assert_eq!(
                    (same.status, same.body.as_str()),
                    (304, ""),
                    "{path} {copy:?}"
                );
                assert_eq!(same.header("etag"), tag);
                assert_eq!(same.header("cache-control"), kept);
                assert!(!same.header("larder-source").is_empty());
            }
        }
        let older = [("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(shop.get(path, &older).await?.status, 200);
        let other = [("if-none-match", "\"other\""), ("if-modified-since", time)];
        assert_eq!(
            shop.get(path, &other).await?.status,
            200,
            "the tag goes first"
        );
    }
    Ok(())
}

async fn a_write_changes_the_tag_at_once_for_whoever_shows_its_token(home: Home) -> Result<()> {
    let shop = Shop::open(home).await?;
    shop.stock(kettle()).await?;
    shop.name("ada", "Ada").await?;
    let mut tag = shop
        .get("/products/kettle", &[])
        .await?
        .header("etag")
        .to_owned();
    for round in 0..4 {
        let (body, name) = (format!("Round {round}."), format!("Ada the {round}th"));
        for write in ["comment", "price", "name"] {
            let (token, shown) = match write {
                "comment" => {
                    let id = format!("c{round}");
                    (shop.say(&id, "kettle", "ada", &body).await?, body.clone())
                }
                "price" => {
                    let token = shop.reprice("kettle", 1000 + round).await?;
                    (token, format!("€10.0{round}"))
                }
                _ => (shop.name("ada", &name).await?, name.clone()),
            };
            let asking = [
                ("larder-token", token.as_str()),
                ("if-none-match", &tag),
                OLD,
            ];
            let page = shop.get("/products/kettle", &asking).await?;
            assert_eq!(page.status, 200, "{shown}");
            assert!(page.body.contains(&shown), "{shown}: {}", page.body);
            tag = page.header("etag").to_owned();
        }
    }
    let same = shop
        .get("/products/kettle", &[("if-none-match", &tag), OLD])
        .await?;
    assert_eq!(same.status, 304);
    // Who shows no token sees the next one within Δ all the same.
    shop.say("late", "kettle", "ada", "And without one.")
        .await?;
    let seen = async || {
        let page = shop
            .get("/products/kettle", &[("if-none-match", &tag)])
            .await;
        page.is_ok_and(|page| page.status == 200 && page.body.contains("And without one."))
    };
    larder_testkit::wait_until("the comment", support::SOON, seen).await
}

async fn each_version_of_a_part_is_rendered_once_and_by_itself(home: Home) -> Result<()> {
    let shop = Shop::open(home).await?;
    let sheets = ["product", "comments", "product_page"];
    shop.stock(kettle()).await?;
    shop.name("ada", "Ada").await?;
    let mut token = shop.say("c", "kettle", "ada", "It boils.").await?;
    let look = async |token: &str| -> Result<String> {
        for _ in 0..3 {
            let page = shop
                .get("/products/kettle", &[("larder-token", token)])
                .await?;
            assert_eq!(page.status, 200);
        }
        Ok(shop.get("/products/kettle", &[]).await?.body)
    };
    look(&token).await?;
    assert_eq!(shop.printed(sheets).await?, [1, 1, 1]);
    token = shop.say("d", "kettle", "ada", "It boils still.").await?;
    look(&token).await?;
    assert_eq!(shop.printed(sheets).await?, [1, 2, 2], "a new comment");
    token = shop.name("ada", "Countess").await?;
    look(&token).await?;
    assert_eq!(shop.printed(sheets).await?, [1, 3, 3], "another name");
    token = shop.reprice("kettle", 5).await?;
    let page = look(&token).await?;
    assert_eq!(shop.printed(sheets).await?, [2, 3, 4], "another price");
    assert!(
        page.contains("€0.05") && page.contains("Countess"),
        "{page}"
    );
    // What changes nothing on the page renders nothing.
    token = shop.say("e", "pot", "ada", "Of another product.").await?;
    look(&token).await?;
    assert_eq!(shop.printed(sheets).await?, [2, 3, 4]);
    Ok(())
}

async fn a_category_shows_all_of_its_products_in_either_order(home: Home) -> Result<()> {
    let shop = Shop::open(home).await?;
    let name = "tea & <b>/ été";
    for price in 0..30 {
        shop.stock(thing(&format!("t{price:02}"), name, price))
            .await?;
    }
    shop.stock(thing("pan", "kitchen", 7)).await?;
    shop.stock(thing("dots", "..", 7)).await?;
    let home = shop.get("/", &[]).await?.body;
    let path = "/categories/tea%20%26%20%3Cb%3E%2F%20%C3%A9t%C3%A9";
    assert!(home.contains(&format!("href=\"{path}\"")), "{home}");
    assert!(home.contains("href=\"/categories/kitchen\""), "{home}");
    assert!(
        home.contains("<li><bdi>..</bdi></li>"),
        "no browser would find it"
    );
    for (query, first, last) in [("", "t00", "t29"), ("?order=dearest", "t29", "t00")] {
        let page = shop.get(&format!("{path}{query}"), &[]).await?;
        assert_eq!(page.status, 200);
        assert!(
            page.body.contains("tea &amp; &lt;b&gt;/ été"),
            "{}",
            page.body
        );
        let cards = |body: &str| body.matches("href=\"/products/").count();
        assert_eq!(cards(&page.body), 24);
        assert!(page.body.contains(&format!("/products/{first}\"")));
        let (_, next) = page.body.split_once("rel=\"next\" href=\"").expect("more");
        let (next, _) = next.split_once('"').expect("its end");
        let next = shop.get(&next.replace("&amp;", "&"), &[]).await?;
        assert_eq!((next.status, cards(&next.body)), (200, 6));
        assert!(next.body.contains(&format!("/products/{last}\"")));
        assert!(!next.body.contains("rel=\"next\"") && next.body.contains("First page"));
    }
    Ok(())
}

async fn without_comments_a_page_is_shown_and_not_kept(home: Home) -> Result<()> {
    let mut shop = Shop::open(home).await?;
    shop.stock(kettle()).await?;
    shop.name("ada", "Ada").await?;
    shop.say("c", "kettle", "ada", "It boils.").await?;
    let whole = shop.get("/products/kettle", &[]).await?;
    assert!(whole.body.contains("It boils."));
    shop.talk.take().expect("once").stop().await?;
    let part = shop.get("/products/kettle", &[]).await?;
    assert_eq!(part.status, 200);
    assert!(part.body.contains("The kettle") && part.body.contains("cannot be shown just now"));
    assert_eq!(part.header("cache-control"), "no-store");
    assert_eq!(part.header("last-modified"), "");
    assert_ne!(part.header("etag"), whole.header("etag"));
    // Without the product there is nothing to show, and that is for a moment.
    shop.things.take().expect("once").stop().await?;
    for path in [
        "/products/kettle",
        "/",
        "/categories/kitchen",
        "/sitemap.xml",
    ] {
        let none = shop.get(path, &[]).await?;
        assert_eq!(none.status, 503, "{path}");
        assert!(none.body.contains("closed for a moment"), "{}", none.body);
        assert_eq!(none.header("cache-control"), "no-store");
        assert!(none.header("retry-after").parse::<u64>()? >= 1);
        assert!(!none.header("content-security-policy").is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn a_page_with_a_stale_part_says_so_and_is_not_kept() -> Result<()> {
    let mut shop = Shop::open(Home::sqlite()?).await?;
    shop.stock(kettle()).await?;
    shop.name("ada", "Ada").await?;
    shop.say("c", "kettle", "ada", "It boils.").await?;
    shop.get("/products/kettle", &[]).await?;
    // Nobody can say any more what Ada is called, but what she was called.
    shop.people.take().expect("once").stop().await?;
    let stale = async || {
        let page = shop.get("/products/kettle", &[]).await;
        page.is_ok_and(|page| page.header("larder-source") == "stale")
    };
    larder_testkit::wait_until("a stale part", support::SOON, stale).await?;
    let page = shop.get("/products/kettle", &[]).await?;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Ada") && page.body.contains("It boils."));
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("last-modified"), "");
    assert_eq!(page.header("larder-version"), "1");
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_or_cannot_be_understood_is_told_in_a_page() -> Result<()> {
    let shop = Shop::open(Home::sqlite()?).await?;
    shop.stock(kettle()).await?;
    let browser = [("accept", "text/html,*/*;q=0.8")];
    for (path, status) in [
        ("/products/none", 404),
        ("/products/No%20id", 404),
        ("/products/%ff", 404),
        ("/products/kettle?comments=x", 400),
        ("/products/kettle?comments=%00%ff", 400),
        ("/categories/none", 404),
        ("/categories/%00", 400),
        ("/categories/%ff", 404),
        ("/categories/.", 404),
        ("/categories/kitchen?page=x", 400),
        ("/categories/kitchen?order=sideways", 400),
        ("/sitemaps/products.xml?after=x", 400),
        ("/assets/site-0.css", 404),
        ("/assets/%ff", 404),
        ("/nothing/here", 404),
    ] {
        let page = shop.get(path, &browser).await?;
        assert_eq!(page.status, status, "{path}: {}", page.body);
        assert_eq!(
            page.header("content-type"),
            "text/html; charset=utf-8",
            "{path}"
        );
        assert!(page.body.starts_with("<!DOCTYPE html>"), "{path}");
        assert!(
            page.body
                .contains("<meta name=\"robots\" content=\"noindex\">")
        );
        assert!(!page.header("content-security-policy").is_empty(), "{path}");
        let head = shop.head(path, &browser).await?;
        assert_eq!((head.status, head.body.as_str()), (status, ""), "{path}");
    }
    let wish = [("larder-freshness", "whatever")];
    assert_eq!(shop.get("/products/kettle", &wish).await?.status, 400);
    let write = shop.gate.send("POST", "/products/kettle", &[], "x").await?;
    assert_eq!(write.status, 405);
    let token = shop.remove("kettle").await?;
    let gone = shop
        .get("/products/kettle", &[("larder-token", &token)])
        .await?;
    assert_eq!(gone.status, 404);
    Ok(())
}

/// What strangers write so that it becomes more than text.
const FOUL: &str = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\" onload='x' \
    <!-- & &amp; \u{202e}drow\u{1}\u{1b}\u{fdd0}\u{7f} {{7*7}}";

#[tokio::test]
async fn what_strangers_write_stays_text() -> Result<()> {
    let shop = Shop::open(Home::sqlite()?).await?;
    let foul = Product {
        title: FOUL.to_owned(),
        description: FOUL.to_owned(),
        category: FOUL.chars().take(60).collect(),
        ..kettle()
    };
    shop.stock(foul.clone()).await?;
    shop.name("eve", &FOUL[..60]).await?;
    shop.say("c", "kettle", "eve", FOUL).await?;
    shop.say("d", "kettle", "eve", &"long".repeat(1000)).await?;
    let category: String = foul
        .category
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    for path in ["/products/kettle", "/", &format!("/categories/{category}")] {
        let page = shop.get(path, &[]).await?;
        assert_eq!(page.status, 200, "{path}");
        for live in [
            "<script>",
            "<img",
            "onload='x' <",
            "<!-- &",
            "\u{1}",
            "\u{1b}",
            "\u{7f}",
        ] {
            assert!(!page.body.contains(live), "{path} {live:?}: {}", page.body);
        }
        let scripts = page.body.matches("<script").count();
        assert_eq!(
            scripts,
            page.body
                .matches("<script type=\"application/ld+json\">")
                .count()
        );
        assert_eq!(scripts, page.body.matches("</script").count(), "{path}");
        assert_eq!(data(&page.body)?.len(), scripts);
        // Nothing isolates a direction in an attribute.
        for attribute in page.body.split("content=\"").skip(1) {
            let (value, _) = attribute.split_once('"').expect("its end");
            assert!(!value.contains('\u{202e}'), "{value}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn pages_are_compressed_as_asked_and_each_coding_is_kept_apart() -> Result<()> {
    let shop = Shop::open(Home::sqlite()?).await?;
    shop.stock(kettle()).await?;
    let plain = shop.get("/products/kettle", &[]).await?;
    let mut tags = vec![plain.header("etag").to_owned()];
    for coding in ["gzip", "zstd"] {
        let (head, body) = bytes(shop.gate.http, "/products/kettle", coding).await?;
        assert!(
            head.contains(&format!("\r\ncontent-encoding: {coding}")),
            "{head}"
        );
        assert!(
            head.contains(&format!("\r\ncontent-length: {}", body.len())),
            "{head}"
        );
        assert!(body.len() < plain.body.len() / 2, "{} bytes", body.len());
        let read = match coding {
            "gzip" => {
                let mut text = String::new();
                flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text)?;
                text
            }
            _ => String::from_utf8(zstd::bulk::decompress(&body, plain.body.len())?)?,
        };
        assert_eq!(read, plain.body);
        let asking = [("accept-encoding", coding)];
        let tag = shop
            .head("/products/kettle", &asking)
            .await?
            .header("etag")
            .to_owned();
        let asking = [("accept-encoding", coding), ("if-none-match", tag.as_str())];
        assert_eq!(shop.get("/products/kettle", &asking).await?.status, 304);
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "{tags:?}");
    Ok(())
}

#[tokio::test]
async fn crawlers_find_every_product_and_category_by_the_map() -> Result<()> {
    let shop = Shop::open(Home::sqlite()?).await?;
    shop.stock(kettle()).await?;
    shop.stock(thing("pot", "tea & <cake>", 100)).await?;
    shop.stock(thing("dots", "..", 7)).await?;
    let robots = shop.get("/robots.txt", &[]).await?;
    assert_eq!(robots.status, 200);
    assert!(
        robots
            .body
            .contains("Sitemap: https://shop.example/sitemap.xml\n")
    );
    let locations = |xml: &str| -> Vec<String> {
        let found = xml.split("<loc>").skip(1);
        let found = found.filter_map(|item| item.split_once("</loc>"));
        found.map(|(url, _)| url.to_owned()).collect()
    };
    let index = shop.get("/sitemap.xml", &[]).await?;
    assert_eq!(
        index.header("content-type"),
        "application/xml; charset=utf-8"
    );
    let mut found = Vec::new();
    for map in locations(&index.body) {
        let map = map
            .strip_prefix("https://shop.example")
            .expect("ours")
            .to_owned();
        let map = shop.get(&map, &[]).await?;
        assert_eq!(map.status, 200);
        let tag = map.header("etag");
        assert!(!tag.is_empty());
        found.extend(locations(&map.body));
    }
    let expected = [
        "https://shop.example/",
        "https://shop.example/categories/kitchen",
        "https://shop.example/categories/tea%20%26%20%3Ccake%3E",
        "https://shop.example/products/dots",
        "https://shop.example/products/kettle",
        "https://shop.example/products/pot",
    ];
    assert_eq!(found, expected);
    for url in found {
        let path = url
            .strip_prefix("https://shop.example")
            .expect("ours")
            .to_owned();
        assert_eq!(shop.get(&path, &[]).await?.status, 200, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_map_of_many_products_is_cut_into_parts() -> Result<()> {
    let shop = Shop::open(Home::sqlite()?).await?;
    shop.home.by_hand(
        "products",
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO products (id, title, version) SELECT 'p' || i, 'Product', 1 FROM n",
    )?;
    let strong = [("larder-freshness", "strong")];
    shop.get("/", &strong).await?;
    let index = async || {
        let index = shop.get("/sitemap.xml", &[]).await.ok()?.body;
        (index.matches("/sitemaps/products.xml").count() == 3).then_some(index)
    };
    let index = index().await.expect("an index of 20001 products");
    let mut products = std::collections::HashSet::new();
    for item in index.split("<loc>https://shop.example").skip(2) {
        let (map, _) = item.split_once("</loc>").expect("its end");
        let map = shop.get(map, &[]).await?.body;
        assert!(map.matches("<loc>").count() <= 10_000);
        products.extend(
            map.split("/products/")
                .skip(1)
                .map(|id| id.split('<').next().map(str::to_owned)),
        );
    }
    assert_eq!(products.len(), 20_001);
    Ok(())
}

#[tokio::test]
async fn the_style_has_its_hash_in_its_name_and_is_kept_for_ever() -> Result<()> {
    let shop = Shop::open(Home::sqlite()?).await?;
    let page = shop.get("/", &[]).await?.body;
    for (before, content_type) in [
        (
            "<link rel=\"stylesheet\" href=\"",
            "text/css; charset=utf-8",
        ),
        (
            "<link rel=\"icon\" type=\"image/svg+xml\" href=\"",
            "image/svg+xml",
        ),
    ] {
        let (_, path) = page.split_once(before).expect("a link");
        let (path, _) = path.split_once('"').expect("its end");
        let asset = shop.get(path, &[]).await?;
        assert_eq!(
            (asset.status, asset.header("content-type")),
            (200, content_type)
        );
        let kept = "public, max-age=31536000, immutable";
        assert_eq!(asset.header("cache-control"), kept);
        let copy = [("if-none-match", asset.header("etag"))];
        assert_eq!(shop.get(path, &copy).await?.status, 304);
    }
    Ok(())
}
