//! Launches: products that are loaded into both tiers of every replica before a crowd asks for
//! them.
//!
//! A launch without a time is a task of the process. It ends with its products, when its caller
//! hangs up, or when the process drains; it never waits for its caller to read. One with a time is
//! written down (`ahead.rs`), and every replica prepares it (`keeper.rs`).

pub mod ahead;
pub mod keeper;

use crate::model::ProductId;
use crate::store::Store;
use futures_util::{Stream, stream};
use larder::{Error, Keyspace};
use larder_host::Entity;
use larder_host::load::error;
use larder_proto::products::v1 as wire;
use larder_runtime::status::{self, Problem};
use larder_runtime::tasks::Tasks;
use larder_wire::refusal;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tonic::{Code, Status};
use wire::LaunchProductsResponse as Progress;

/// Ids that one call may name.
const MOST_IDS: usize = 1000;
/// Products that one launch may hold.
const MOST: usize = 100_000;
/// Products in one load, which is what one message to the other replicas can carry.
const BATCH: usize = 64;
/// Launches at once, in this process.
const AT_ONCE: usize = 4;
/// When to come back for a launch that there was no room for, or that was broken off.
const COME_BACK: Duration = Duration::from_secs(1);

/// What is to be launched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// These products.
    Ids(Vec<ProductId>),
    /// All products of this category.
    Category(String),
}

impl What {
    /// What a request names.
    pub fn new(ids: Vec<String>, category: String) -> Result<Self, Status> {
        match (ids.is_empty(), category.is_empty()) {
            (false, true) => ProductId::distinct(ids, MOST_IDS).map(Self::Ids),
            // PostgreSQL cannot even be asked for it.
            (true, false) if category.contains('\0') => Err(status::invalid(
                "category",
                "must not contain a NUL character",
            )),
            (true, false) => Ok(Self::Category(category)),
            (true, true) => Err(status::invalid(
                "ids",
                "must not be empty where there is no category",
            )),
            (false, false) => Err(status::invalid(
                "category",
                "must be empty where there are ids",
            )),
        }
    }

    /// The ids of the products that are meant; an error where they are too many.
    pub async fn ids(&self, store: &Store) -> Result<Vec<ProductId>, Status> {
        let ids = self.find(store).await.map_err(|failed| {
            refusal(&Error::Load {
                keyspace: "products".into(),
                cause: error(failed.into()),
            })
        })?;
        if ids.len() > MOST {
            let message = format!("the category has more than {MOST} products");
            let large = Problem::new(Code::FailedPrecondition, "CATEGORY_TOO_LARGE", message);
            return Err(large.with("most", MOST.to_string()).into());
        }
        Ok(ids)
    }

    /// The same, some more than [`MOST`] where they are too many.
    async fn find(&self, store: &Store) -> Result<Vec<ProductId>, larder_db::Error> {
        match self {
            Self::Ids(ids) => Ok(ids.clone()),
            Self::Category(category) => store.ids_of(category, MOST).await,
        }
    }
}

/// The launches of a process.
pub struct Launches {
    products: Keyspace<ProductId, Entity>,
    tasks: Tasks,
    room: Arc<Semaphore>,
    /// Makes the keeper of this process look at once.
    wake: Arc<Notify>,
}

impl Launches {
    /// Of the products in this keyspace, as tasks of this owner.
    pub fn new(products: &Keyspace<ProductId, Entity>, tasks: &Tasks) -> Self {
        Self {
            products: products.clone(),
            tasks: tasks.clone(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
            wake: Arc::default(),
        }
    }

    /// Makes whoever keeps what is written down look at once.
    pub fn wake(&self) -> &Arc<Notify> {
        &self.wake
    }

    /// Begins the launch of the products that `ids` finds, and says how far it is until it ends.
    /// To drop the stream ends it.
    pub fn begin<F>(
        &self,
        ids: F,
    ) -> Result<impl Stream<Item = Result<Progress, Status>> + use<F>, Status>
    where
        F: Future<Output = Result<Vec<ProductId>, Status>> + Send + 'static,
    {
        let products = self.products.clone();
        self.conduct(|tell| async move { run(&products, ids.await, &tell).await })
    }

    /// Writes a launch down for a time to come, and says how far the replicas are until all of
    /// them hold its products. To drop the stream does not end it.
    pub fn ahead(
        &self,
        what: What,
        at: i64,
        store: Store,
    ) -> Result<impl Stream<Item = Result<Progress, Status>> + use<>, Status> {
        let wake = self.wake.clone();
        self.conduct(move |tell| async move { ahead::run(&store, &wake, (what, at), &tell).await })
    }

    /// Runs a launch as a task of the process, and says what it tells.
    fn conduct<J, F>(
        &self,
        launch: J,
    ) -> Result<impl Stream<Item = Result<Progress, Status>> + use<J, F>, Status>
    where
        J: FnOnce(Arc<watch::Sender<Word>>) -> F,
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            let message = "too many launches are under way";
            let reason = "TOO_MANY_LAUNCHES";
            return Err(status::resource_exhausted(reason, message, COME_BACK));
        };
        // Holds the latest word alone: a caller who reads slowly or not at all delays nothing.
        let (tell, told) = watch::channel(None);
        let (tell, stopping) = (Arc::new(tell), self.tasks.stopping().clone());
        let launch = launch(tell.clone());
        self.tasks.spawn("launch", async move {
            let _permit = permit;
            let launch = async {
                if let Err(refused) = launch.await {
                    tell.send_replace(Some(Err(refused)));
                }
            };
            tokio::select! {
                () = launch => {}
                () = tell.closed() => tracing::debug!("the caller of a launch has hung up"),
                () = stopping.cancelled() => {}
            }
        });
        Ok(follow(told))
    }
}

/// What a launch says last; `None` before its first word.
type Word = Option<Result<Progress, Status>>;

async fn run(
    products: &Keyspace<ProductId, Entity>,
    ids: Result<Vec<ProductId>, Status>,
    tell: &watch::Sender<Word>,
) -> Result<(), Status> {
    let ids = ids?;
    let mut progress = Progress {
        total: ids.len() as u64,
        ..Progress::default()
    };
    tell.send_replace(Some(Ok(progress)));
    for batch in ids.chunks(BATCH) {
        let found = products.spread(batch).await;
        let found = found.map_err(|error| refusal(&error))?;
        progress.loaded += found as u64;
        progress.missing += (batch.len() - found) as u64;
        tell.send_replace(Some(Ok(progress)));
    }
    let (loaded, missing) = (progress.loaded, progress.missing);
    tracing::info!(
        products.loaded = loaded,
        products.missing = missing,
        "launched"
    );
    Ok(())
}

/// The words of a launch as they come. One that ended without its last word was broken off: the
/// process drains, or the task has panicked.
fn follow(told: watch::Receiver<Word>) -> impl Stream<Item = Result<Progress, Status>> {
    stream::unfold(Some(told), |told| async {
        let mut told = told?;
        if told.changed().await.is_ok() {
            let word = told.borrow_and_update().clone()?;
            return Some((word, Some(told)));
        }
        let over = match &*told.borrow() {
            Some(Ok(progress)) => progress.loaded + progress.missing == progress.total,
            Some(Err(_)) => true,
            None => false,
        };
        let message = "the launch was broken off; what it has loaded stays loaded";
        let broken_off = || status::unavailable("LAUNCH_BROKEN_OFF", message, COME_BACK);
        (!over).then(|| (Err(broken_off()), None))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;
    use larder::remote::hub::Hub;
    use larder::{Larder, Loaded, load};
    use larder_testkit::wait_until;
    use tonic_types::StatusExt as _;

    const SOON: Duration = Duration::from_secs(10);

    /// Launches that never get beyond their first load.
    fn stuck() -> anyhow::Result<Launches> {
        let source = Larder::builder(Hub::new()).build().source("products");
        let forever = |_, _| std::future::pending::<Result<Vec<Loaded<Entity>>, load::Error>>();
        let policy = larder::Policy {
            load_deadline: 10 * SOON,
            ..larder::Policy::default()
        };
        let products = source.open().keyspace("products", forever).policy(policy);
        Ok(Launches::new(&products.open()?, &Tasks::new()))
    }

    async fn kettle() -> Result<Vec<ProductId>, Status> {
        Ok(ProductId::read("kettle").into_iter().collect())
    }

    fn reason(status: &Status) -> String {
        let details = status.get_error_details();
        let info = details.error_info().expect("every error has one");
        info.reason.clone()
    }

    #[tokio::test]
    async fn a_launch_ends_when_its_caller_hangs_up() -> anyhow::Result<()> {
        let launches = stuck()?;
        let mut answers = Box::pin(launches.begin(kettle())?);
        let first = answers.next().await.expect("it has begun")?;
        assert_eq!((first.loaded, first.total), (0, 1));
        assert_eq!(launches.room.available_permits(), AT_ONCE - 1);
        drop(answers);
        let ended = async || launches.room.available_permits() == AT_ONCE;
        wait_until("the end of the launch", SOON, ended).await
    }

    #[tokio::test]
    async fn a_launch_ends_with_the_process_and_says_so() -> anyhow::Result<()> {
        let launches = stuck()?;
        let answers = launches.begin(kettle())?;
        launches.tasks.close(SOON).await?;
        let answers: Vec<_> = answers.collect().await;
        let last = answers.into_iter().next_back().expect("an answer");
        let last = last.expect_err("it was broken off");
        assert_eq!(last.code(), Code::Unavailable);
        assert_eq!(reason(&last), "LAUNCH_BROKEN_OFF");
        Ok(())
    }

    #[tokio::test]
    async fn one_launch_too_many_is_turned_away() -> anyhow::Result<()> {
        let launches = stuck()?;
        let begun: Result<Vec<_>, _> = (0..AT_ONCE).map(|_| launches.begin(kettle())).collect();
        let begun = begun?;
        let refused = launches.begin(kettle()).err().expect("no room");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(reason(&refused), "TOO_MANY_LAUNCHES");
        drop(begun);
        let room = async || launches.begin(kettle()).is_ok();
        wait_until("room", SOON, room).await
    }
}
