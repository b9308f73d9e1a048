//! Sample data and files.

use anyhow::Result;
use larder::remote::hub::Hub;
use larder_db::args;
use larder_host::trial::Home;
use larder_host::{Opening, on_both};
use larder_journal::Journal;
use larder_reports::{Reports, csv, sample};

async fn journal(home: &Home) -> Result<Journal> {
    let opening = Opening::of(&home.parts(&Hub::new()));
    Ok(opening.journal(&Reports::detached()).await?)
}

async fn rows(journal: &Journal) -> Result<Vec<String>> {
    let all = "SELECT id || customer_id || product_id || region || month, ordered_at, quantity, \
               price_cents FROM orders ORDER BY id";
    let rows = journal.database().fetch_all(all, args![]).await?;
    let text = |row: &larder_db::Row| {
        let numbers = [row.get::<i64>(1)?, row.get(2)?, row.get(3)?];
        Ok(format!("{} {numbers:?}", row.get::<&str>(0)?))
    };
    rows.iter().map(text).collect()
}

#[tokio::test]
async fn the_same_seed_makes_the_same_orders_on_both_engines_however_many_are_asked_for()
-> Result<()> {
    let (one, two) = (Home::sqlite()?, Home::postgres()?);
    let (one, two) = (journal(&one).await?, journal(&two).await?);
    let (spread, mut seen) = ((30, 40), Vec::new());
    let made = sample::load(&one, 10_500, spread, 7, |done| seen.push(done)).await?;
    assert_eq!((made, seen), (10_500, vec![10_000, 10_500]));
    // Begun, ended early, and begun again.
    assert_eq!(sample::load(&two, 1_200, spread, 7, |_| {}).await?, 1_200);
    assert_eq!(sample::load(&two, 10_500, spread, 7, |_| {}).await?, 9_300);
    assert_eq!(sample::load(&two, 10_500, spread, 7, |_| {}).await?, 0);
    assert_eq!(rows(&one).await?, rows(&two).await?);
    // However many orders, the journal has a line for each month and each region of it, and that
    // once for each transaction: two here.
    for journal in [&one, &two] {
        let lines = "SELECT count(*) FROM journal WHERE tag LIKE 'orders.%'";
        let lines: i64 = journal.database().fetch_one(lines, args![]).await?.get(0)?;
        assert!(lines <= 3 * 24 * 6, "{lines} lines");
    }
    Ok(())
}

on_both!(a_file_is_imported_but_for_its_bad_lines);

async fn a_file_is_imported_but_for_its_bad_lines(home: Home) -> Result<()> {
    let journal = journal(&home).await?;
    let mut file = "id,customer_id,product_id,region,ordered_at,quantity,price_cents\n".to_owned();
    for number in 2..=12_001 {
        file += &match number {
            7 => "o-7,ada,kettle,mars,2026-05-31T17:00:00Z,1,1999\n".to_owned(),
            8_000 => "o-8000,\"ada,kettle,north,2026-05-31T17:00:00Z,1,1999\n".to_owned(),
            _ => format!("o-{number},ada,kettle,north,2026-05-31T17:00:00Z,1,1999\n"),
        };
    }
    let mut read = Vec::new();
    let imported = csv::import(&journal, file.as_bytes(), |bytes| read.push(bytes)).await?;
    assert_eq!((imported.recorded, imported.known), (11_998, 0));
    let lines: Vec<_> = imported.refusals.iter().map(|told| told.line).collect();
    assert_eq!((imported.refused, lines), (2, vec![7, 8_000]));
    assert_eq!(read.last(), Some(&(file.len() as u64)));
    assert_eq!(read.len(), 3);

    // Mended, and imported again.
    let mended = file.replace("mars", "north").replace('"', "");
    let imported = csv::import(&journal, mended.as_bytes(), |_| {}).await?;
    assert_eq!((imported.recorded, imported.known), (2, 11_998));
    assert_eq!((imported.refused, imported.refusals.len()), (0, 0));
    let orders = "SELECT count(*) FROM orders WHERE month = '2026-05'";
    let orders: i64 = journal
        .database()
        .fetch_one(orders, args![])
        .await?
        .get(0)?;
    assert_eq!(orders, 12_000);
    Ok(())
}
