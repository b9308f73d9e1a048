//! Every kind of page is valid HTML, and its structured data is JSON, by a checker that is not
//! ours: `html-validate`, which `npm ci --prefix services/gateway/tests/html` installs.

use crate::shop;
use crate::support;

use anyhow::{Context as _, Result, ensure};
use larder_host::trial::Home;
use larder_proto::products::v1::Product;
use shop::{Shop, kettle, thing};
use std::path::Path;
use std::process::Command;

/// What strangers write, with everything that HTML gives a meaning to or forbids.
const FOUL: &str = "</script><!-- <b>bold</b> & &amp; &nosuch; \"quoted\" 'so' \u{202e}drow \
    \u{1}\u{1b}\u{fdd0}\u{7f} \t 日本語 ]]>";

#[tokio::test]
async fn every_kind_of_page_is_valid_html() -> Result<()> {
    let checker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/html");
    if !checker.join("node_modules/html-validate").exists() {
        let missing = "html-validate is missing: npm ci --prefix services/gateway/tests/html";
        ensure!(std::env::var_os("CI").is_none(), missing);
        eprintln!("skipped: {missing}");
        return Ok(());
    }
    let shop = filled().await?;
    let folder = tempfile::tempdir()?;
    let mut number = 0;
    let mut save = |page: support::Answer| {
        number += 1;
        let name = format!("{number:02}-{}.html", page.status);
        std::fs::write(folder.path().join(name), page.body)
    };
    let browser = [("accept", "text/html")];
    for path in [
        "/",
        "/products/kettle",
        "/products/foul",
        "/products/bare",
        "/categories/kitchen",
        "/categories/kitchen?order=dearest",
        "/products/none",
        "/products/kettle?comments=x",
        "/nothing/here",
    ] {
        let page = shop.get(path, &browser).await?;
        for next in page.body.split("rel=\"next\" href=\"").skip(1) {
            let (next, _) = next.split_once('"').context("a link without an end")?;
            let (next, _) = next.split_once('#').unwrap_or((next, ""));
            save(shop.get(&next.replace("&amp;", "&"), &browser).await?)?;
        }
        save(page)?;
    }
    save(support::ask(shop.gate.admin, "GET", "/console", &[], "").await?)?;
    let mut shop = shop;
    shop.talk.take().context("it runs")?.stop().await?;
    save(shop.get("/products/kettle", &browser).await?)?;
    shop.things.take().context("it runs")?.stop().await?;
    save(shop.get("/products/kettle", &browser).await?)?;
    ensure!(number == 15, "{number} pages");
    let check = Command::new("node")
        .arg(checker.join("check.mjs"))
        .arg(folder.path())
        .output()
        .context("node is missing")?;
    let said = String::from_utf8_lossy(&check.stdout);
    let wrong = String::from_utf8_lossy(&check.stderr);
    ensure!(check.status.success(), "{said}{wrong}");
    Ok(())
}

/// Two pages of products and of comments, something foul, and something with no more than it must
/// have.
async fn filled() -> Result<Shop> {
    let shop = Shop::open(Home::sqlite()?).await?;
    shop.stock(kettle()).await?;
    shop.name("ada", "Ada").await?;
    shop.name("eve", FOUL).await?;
    for number in 0..25 {
        let id = format!("c{number:02}");
        let author = ["ada", "eve", "gone"][number % 3];
        shop.say(&id, "kettle", author, "It boils.\n\nTwice.")
            .await?;
        let id = format!("pan-{number:02}");
        shop.stock(thing(&id, "kitchen", number as i64)).await?;
    }
    let foul = Product {
        title: format!("{FOUL}{}", "x".repeat(120)),
        description: FOUL.to_owned(),
        category: FOUL.chars().take(64).collect(),
        stock: 3,
        ..thing("foul", "", 1)
    };
    shop.stock(foul).await?;
    shop.say("foul", "foul", "eve", FOUL).await?;
    let bare = Product {
        id: "bare".to_owned(),
        title: "Bare".to_owned(),
        ..Product::default()
    };
    shop.stock(bare).await?;
    Ok(shop)
}
