//! `inspect`: one key in every replica's memory, in the remote tier and in the source.

use super::find::all_answered;
use crate::output::Output;
use clap::Args;
use larder_survey::Replicas;

/// The settings of `larder cache inspect`.
#[derive(Args, Clone, Debug)]
pub struct Inspect {
    /// The keyspace.
    keyspace: String,
    /// The key.
    key: String,
    /// Do not load it from the source, which may be costly.
    #[arg(long)]
    skip_source: bool,
}

pub async fn inspect(replicas: &Replicas, asked: Inspect, output: Output) -> anyhow::Result<()> {
    let seen = replicas
        .inspect(&asked.keyspace, &asked.key, asked.skip_source)
        .await?;
    output.print(&seen)?;
    all_answered(&seen.failures)
}
