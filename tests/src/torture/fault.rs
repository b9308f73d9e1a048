//! What can go wrong. Each fault happens, lasts for a while, and is healed by itself.

use super::bus::Fleet;
use super::faults::{database, fleet, links, processes, redis, sql};
use super::world::World;
use anyhow::Result;
use rand::rngs::SmallRng;
use std::time::Duration;

/// A fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// None: the run that others are compared with.
    Healthy,
    /// A process loses Redis: connections break, and none are accepted.
    BusCut,
    /// A process's connections to Redis stay, and no byte comes through.
    BusSilent,
    /// A process is stopped (SIGSTOP) and goes on with what has piled up.
    Stopped,
    /// A process is killed (SIGKILL) when its write is committed and its hint is not sent.
    KilledBeforeHint,
    /// Rows are updated in psql.
    HandUpdate,
    /// Rows are deleted, and come back by COPY.
    HandCopy,
    /// A table is truncated, and filled again.
    Truncate,
    /// Rows go by a cascade.
    Cascade,
    /// Rows are updated in a session whose `session_replication_role` is `replica`.
    ReplicaRole,
    /// Redis is killed, and comes back empty.
    RedisKilled,
    /// Redis comes back with what it held some time ago.
    RedisOldDump,
    /// FLUSHALL, again and again.
    RedisFlushed,
    /// Redis is full, and drops keys at random.
    RedisFull,
    /// A process reads from a replica of Redis that lags behind.
    RedisLagging,
    /// A replica of Redis takes over without the last that its master was told.
    RedisFailover,
    /// Two Redis servers believe to be the master, each with processes of its own.
    RedisSplit,
    /// The sentinels' primary is killed after its replicas have missed its last writes.
    SentinelFailover,
    /// A primary of the cluster is killed.
    ShardKilled,
    /// A shard is added to the cluster, and takes slots from the others.
    Resharded,
    /// A transaction commits after later ones.
    LongWriter,
    /// Rows move between collections.
    Moves,
    /// An absence is cached, and the row is inserted by hand.
    AbsenceThenInsert,
    /// A row is deleted and inserted again in one transaction.
    DeleteInsert,
    /// Rows are changed, loaded meanwhile, and the change is rolled back.
    RolledBack,
    /// A transaction older than the journal's memory commits just before it is pruned.
    PrunedLate,
    /// A process is silent for longer than the journal remembers.
    SilentTooLong,
    /// PostgreSQL answers slowly.
    SlowLoader,
    /// PostgreSQL is down.
    DatabaseDown,
    /// The profiles' database takes no connections, and the others' do; rows of it are changed by
    /// a session that was there before.
    ProfilesAway,
    /// A process's connections to PostgreSQL stay, and no byte comes through.
    DatabaseSilent,
    /// A standby takes over from PostgreSQL's primary: a new epoch.
    Promoted,
    /// A hundred thousand rows are updated by hand.
    BulkWrite,
}

impl Fault {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 33] = [
        Self::Healthy,
        Self::BusCut,
        Self::BusSilent,
        Self::Stopped,
        Self::KilledBeforeHint,
        Self::HandUpdate,
        Self::HandCopy,
        Self::Truncate,
        Self::Cascade,
        Self::ReplicaRole,
        Self::RedisKilled,
        Self::RedisOldDump,
        Self::RedisFlushed,
        Self::RedisFull,
        Self::RedisLagging,
        Self::RedisFailover,
        Self::RedisSplit,
        Self::SentinelFailover,
        Self::ShardKilled,
        Self::Resharded,
        Self::LongWriter,
        Self::Moves,
        Self::AbsenceThenInsert,
        Self::DeleteInsert,
        Self::RolledBack,
        Self::PrunedLate,
        Self::SilentTooLong,
        Self::SlowLoader,
        Self::DatabaseDown,
        Self::ProfilesAway,
        Self::DatabaseSilent,
        Self::Promoted,
        Self::BulkWrite,
    ];

    /// Its name on the command line and in the table.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    /// The fault of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// The Redis servers that it happens to, or may happen to.
    pub fn fleet(self) -> Fleet {
        match self {
            Self::SentinelFailover => Fleet::Sentinel,
            Self::ShardKilled | Self::Resharded => Fleet::Cluster,
            _ => Fleet::Single,
        }
    }

    /// Whether it is done in SQL alone, so that it may happen while a server or a process is
    /// away.
    pub(crate) fn is_sql(self) -> bool {
        use Fault::*;
        matches!(
            self,
            HandUpdate
                | HandCopy
                | Truncate
                | Cascade
                | ReplicaRole
                | LongWriter
                | Moves
                | AbsenceThenInsert
                | DeleteInsert
                | RolledBack
                | PrunedLate
        )
    }

    /// Makes it happen, for so long, and heals it.
    pub(crate) async fn happen(
        self,
        world: &World,
        span: Duration,
        random: &mut SmallRng,
    ) -> Result<()> {
        match self {
            Self::Healthy => {
                tokio::time::sleep(span).await;
                Ok(())
            }
            Self::BusCut => links::bus_cut(world, span, random).await,
            Self::BusSilent => links::bus_silent(world, span, random).await,
            Self::Stopped => processes::stopped(world, span, random).await,
            Self::KilledBeforeHint => processes::killed_before_hint(world, span, random).await,
            Self::SilentTooLong => processes::silent_too_long(world, span, random).await,
            Self::RedisKilled => redis::killed(world, span).await,
            Self::RedisOldDump => redis::old_dump(world, span).await,
            Self::RedisFlushed => redis::flushed(world, span).await,
            Self::RedisFull => redis::full(world, span).await,
            Self::RedisLagging => redis::lagging(world, span, random).await,
            Self::RedisFailover => redis::failover(world, span).await,
            Self::RedisSplit => redis::split(world, span).await,
            Self::SentinelFailover => fleet::sentinel_failover(world, span).await,
            Self::ShardKilled => fleet::shard_killed(world, span).await,
            Self::Resharded => fleet::resharded(world, span).await,
            Self::SlowLoader => links::slow_loader(world, span).await,
            Self::DatabaseSilent => links::database_silent(world, span, random).await,
            Self::DatabaseDown => database::down(world, span).await,
            Self::ProfilesAway => database::profiles_away(world, span).await,
            Self::Promoted => database::promoted(world, span).await,
            Self::BulkWrite => database::bulk_write(world, span).await,
            of_sql => sql::again_and_again(of_sql, world, span, random).await,
        }
    }
}
