//! What holds for every request, whatever services there are: here there are none.

mod support;

use anyhow::Result;
use support::{Gate, nowhere};

#[tokio::test]
async fn what_is_not_there_and_what_is_not_for_it_are_told_as_problems() -> Result<()> {
    let gate = Gate::start(nowhere()).await?;
    let answer = gate.get("/nothing/here", &[]).await?;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()?["reason"], "NO_SUCH_PATH");
    gate.stop().await
}
