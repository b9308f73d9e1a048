//! Sample data.

use anyhow::Result;
use larder::remote::hub::Hub;
use larder_db::args;
use larder_host::Opening;
use larder_host::trial::Home;
use larder_journal::Journal;
use larder_profiles::{Profiles, sample};

async fn journal(home: &Home) -> Result<Journal> {
    Ok(Opening::of(&home.parts(&Hub::new()))
        .journal(&Profiles)
        .await?)
}

async fn rows(journal: &Journal) -> Result<Vec<String>> {
    let all = "SELECT id || display_name || bio || avatar_url, followers, version, version \
               FROM profiles ORDER BY id";
    let rows = journal.database().fetch_all(all, args![]).await?;
    let text = |row: &larder_db::Row| {
        let numbers = [row.get::<i64>(1)?, row.get(2)?, row.get(3)?];
        Ok(format!("{} {numbers:?}", row.get::<&str>(0)?))
    };
    rows.iter().map(text).collect()
}

#[tokio::test]
async fn the_same_seed_makes_the_same_rows_on_both_engines_however_many_are_asked_for() -> Result<()>
{
    let (one, two) = (Home::sqlite()?, Home::postgres()?);
    let (one, two) = (journal(&one).await?, journal(&two).await?);
    let mut seen = Vec::new();
    assert_eq!(
        sample::load(&one, 2500, 7, |done| seen.push(done)).await?,
        2500
    );
    assert_eq!(seen, [1000, 2000, 2500]);
    // Begun, ended early, and begun again.
    assert_eq!(sample::load(&two, 1200, 7, |_| {}).await?, 1200);
    assert_eq!(sample::load(&two, 2500, 7, |_| {}).await?, 1300);
    assert_eq!(sample::load(&two, 2500, 7, |_| {}).await?, 0);
    let rows_of_one = rows(&one).await?;
    assert_eq!(rows_of_one, rows(&two).await?);
    assert!(rows_of_one[42].starts_with("profile-000042"));
    let three = Home::sqlite()?;
    let three = journal(&three).await?;
    sample::load(&three, 100, 8, |_| {}).await?;
    assert_ne!(
        rows(&three).await?[..],
        rows_of_one[..100],
        "another seed makes other rows"
    );
    Ok(())
}
