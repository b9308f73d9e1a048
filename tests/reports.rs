//! Reports of the whole suite: orders are loaded and imported beside it, and what is reported of
//! them is joined with what the products are called.

use anyhow::Result;
use larder_proto::reports::v1::*;
use larder_testkit::wait_until;
use larder_tests::command::{self, Finished};
use larder_tests::scene::SOON;
use larder_tests::{Setup, Suite, asking};
use std::path::Path;
use std::time::Duration;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
const LIMIT: Duration = Duration::from_secs(120);

async fn larder(suite: &Suite, args: &[&str]) -> Result<Finished> {
    let database = format!("sqlite://{}", suite.folder().display());
    let all = [args, &["--database", &database, "--output", "json"]].concat();
    command::run(LARDER, suite.folder(), &all, LIMIT).await
}

fn write(path: &Path, lines: &[&str]) -> Result<String> {
    let header = "id,customer_id,product_id,region,ordered_at,quantity,price_cents\n";
    std::fs::write(path, header.to_owned() + &lines.join("\n"))?;
    Ok(path.display().to_string())
}

#[tokio::test]
async fn orders_that_are_loaded_and_imported_are_reported_with_their_titles() -> Result<()> {
    let suite = Setup::new(LARDER).start().await?;
    let year = || GetSalesReportRequest {
        first_day: "2025-01-01".to_owned(),
        last_day: "2025-12-31".to_owned(),
        bucket: SalesBucket::Month.into(),
        ..GetSalesReportRequest::default()
    };
    let orders = async |replica: u8| {
        let report = suite.reports(replica).get_sales_report(year()).await?;
        Ok::<_, tonic::Status>(report.into_inner().total.unwrap_or_default().orders)
    };
    assert_eq!(orders(1).await?, 0);
    let sizes = ["--profiles", "20", "--products", "30", "--comments", "0"];
    let loaded = larder(
        &suite,
        &[&["load", "--orders", "2000"], &sizes[..]].concat(),
    )
    .await?;
    assert_eq!(loaded.code, Some(0), "{loaded:?}");
    assert!(loaded.printed.contains("\"orders\":2000"), "{loaded:?}");
    // About half of them are of 2025, and both replicas notice.
    for replica in [1, 2] {
        let seen = async || orders(replica).await.is_ok_and(|count| count > 900);
        wait_until("the loaded orders", SOON, seen).await?;
    }
    let before = orders(1).await?;

    let good = "mine-1,ada,product-000007,north,2025-05-31T12:00:00Z,1000,100000000";
    let bad = "mine-2,ada,product-000007,mars,2025-05-31T12:00:00Z,1,1";
    let file = write(&suite.folder().join("orders.csv"), &[good, bad, good])?;
    let imported = larder(&suite, &["import", &file]).await?;
    assert_eq!(imported.code, Some(1), "{imported:?}");
    let told = "\"line\":3,\"problem\":\"region: is no region";
    assert!(imported.printed.contains(told), "{imported:?}");
    let told = "{\"recorded\":1,\"known\":1,\"refused\":1";
    assert!(imported.printed.starts_with(told), "{imported:?}");
    assert!(imported.said.contains("1 lines of "), "{imported:?}");
    for replica in [1, 2] {
        let seen = async || orders(replica).await.is_ok_and(|count| count == before + 1);
        wait_until("the imported order", SOON, seen).await?;
        let request = GetTopProductsRequest {
            first_day: "2025-05-01".to_owned(),
            last_day: "2025-05-31".to_owned(),
            limit: 3,
            ..GetTopProductsRequest::default()
        };
        let request = asking(request, &[]);
        let report = suite.reports(replica).get_top_products(request).await?;
        let products = report.into_inner().products;
        assert_eq!(products.len(), 3);
        assert_eq!(products[0].product_id, "product-000007");
        assert!(products.iter().all(|product| !product.title.is_empty()));
    }
    Ok(())
}
