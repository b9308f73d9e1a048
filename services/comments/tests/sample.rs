//! Sample data: the same for the same seed, made once.

use anyhow::Result;
use larder::remote::hub::Hub;
use larder_comments::{Comments, sample};
use larder_host::trial::Home;
use larder_host::{Opening, on_both};

on_both!(
    the_same_seed_makes_the_same_comments_once,
    some_products_have_many_comments,
);

async fn the_same_seed_makes_the_same_comments_once(home: Home) -> Result<()> {
    let opening = Opening::of(&home.parts(&Hub::new()));
    let journal = opening.journal(&Comments::detached()).await?;
    let mut told = Vec::new();
    let made = sample::load(&journal, 1500, (20, 30), 1, |count| told.push(count)).await?;
    assert_eq!((made, told), (1500, vec![1000, 1500]));
    let all =
        "SELECT id, product_id, author_id, body, created_at, version FROM comments ORDER BY id";
    let first = home.by_hand("comments", all)?;
    assert_eq!(sample::load(&journal, 1500, (20, 30), 1, |_| ()).await?, 0);
    assert_eq!(home.by_hand("comments", all)?, first);
    home.by_hand(
        "comments",
        "DELETE FROM comments WHERE id < 'comment-0000700'",
    )?;
    assert_eq!(
        sample::load(&journal, 1500, (20, 30), 1, |_| ()).await?,
        700
    );
    let columns = "SELECT id, product_id, author_id, body, created_at FROM comments ORDER BY id";
    let again = home.by_hand("comments", columns)?;
    for (one, other) in first.lines().zip(again.lines()) {
        // All but the version, which is never used twice.
        assert!(one.starts_with(other), "{one} became {other}");
    }
    Ok(())
}

async fn some_products_have_many_comments(home: Home) -> Result<()> {
    let opening = Opening::of(&home.parts(&Hub::new()));
    let journal = opening.journal(&Comments::detached()).await?;
    sample::load(&journal, 1000, (50, 40), 7, |_| ()).await?;
    let count = |what: &str| -> Result<usize> {
        let sql = format!("SELECT count(*) FROM comments WHERE {what}");
        Ok(home.by_hand("comments", &sql)?.trim().parse()?)
    };
    assert!(count("product_id = 'product-000000'")? > 100);
    assert!(count("product_id < 'product-000025'")? > 600);
    assert_eq!(
        count("product_id > 'product-000049' OR author_id > 'profile-000039'")?,
        0
    );
    assert!(count("product_id >= 'product-000040'")? > 0);
    assert_eq!(sample::id(42), "comment-0000042");
    Ok(())
}
