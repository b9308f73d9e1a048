//! Every keyspace of this service, its policy, and what moves its entries.
//!
//! | keyspace | holds | moved by a change of |
//! |---|---|---|
//! | `profiles` | a row, or its absence | that row |
//! | `profiles.list` | a page of the list, encoded | any row |
//!
//! The triggers that `store::watches` describes are the only place that says what a change
//! touches. A page shows whole rows, so that every change of a row may be one of the page; a
//! single tag for all pages says that with one line of the journal for each change.

use crate::model::ProfileId;
use crate::store::{self, Store};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use larder::policy::Invalid;
use larder::{Ask, Key, Keyspace, Load, Loaded, Policy, Source, Tag, load};
use larder_api::page::Query;
use larder_db::Error as Db;
use larder_host::Entity;
use larder_host::load::{error, loaded, proof};
use larder_journal::Labelled;
use larder_proto::Raw;
use prost::Message;

/// The keyspaces.
#[derive(Clone)]
pub struct Keyspaces {
    /// Profiles by id. A write evicts: what changes often (followers) is not always read.
    pub profiles: Keyspace<ProfileId, Entity>,
    /// Pages of ListProfiles.
    pub list: Keyspace<Page, Bytes>,
}

/// A page of the list: the first so many profiles after an id.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Page {
    /// How many at most.
    pub size: u32,
    /// The last id of the page before.
    pub after: Option<ProfileId>,
}

/// The list, as page tokens know it.
pub fn query() -> Query {
    Query::new("ListProfiles", &[])
}

impl Keyspaces {
    /// Opens them.
    pub fn open(source: &Source, store: &Store) -> Result<Self, Invalid> {
        let policy = || Policy {
            fail_safe: true,
            ..Policy::default()
        };
        let profiles = source
            .keyspace("profiles", Profiles(store.clone()))
            .policy(policy());
        let list = source
            .keyspace("profiles.list", Pages(store.clone()))
            .policy(policy());
        Ok(Self {
            profiles: profiles.open()?,
            list: list.open()?,
        })
    }
}

struct Profiles(Store);

impl Load<ProfileId, Entity> for Profiles {
    fn load<'a>(
        &'a self,
        keys: &'a [ProfileId],
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Entity>>, load::Error>> {
        self.0.load(keys).boxed()
    }
}

impl Key for Page {
    fn write(&self, text: &mut String) {
        text.push_str(&self.size.to_string());
        text.push('/');
        text.push_str(self.after.as_ref().map_or("", ProfileId::as_str));
    }

    fn parse(text: &str) -> Option<Self> {
        let (size, after) = text.split_once('/')?;
        let after = match after {
            "" => None,
            id => Some(ProfileId::read(id)?),
        };
        Some(Self {
            size: size.parse().ok()?,
            after,
        })
    }

    fn tags(&self, tags: &mut Vec<Tag>) {
        tags.push(Tag::of("profiles.all", "id"));
    }
}

struct Pages(Store);

impl Load<Page, Bytes> for Pages {
    fn load<'a>(
        &'a self,
        keys: &'a [Page],
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Bytes>>, load::Error>> {
        let pages = async move {
            let mut pages = Vec::with_capacity(keys.len());
            for page in keys {
                // One row more tells whether there is a page behind this one.
                let read = self
                    .0
                    .list(page.after.as_ref(), page.size + 1)
                    .await
                    .map_err(error)?;
                let encoded = encode(page.size, &read).map_err(|broken| error(broken.into()))?;
                pages.push(loaded(Some(encoded), proof(&read)));
            }
            Ok(pages)
        };
        pages.boxed()
    }
}

/// `ListProfilesResponse`, of rows that are encoded already.
#[derive(Clone, PartialEq, Message)]
struct Listed {
    #[prost(message, repeated, tag = "1")]
    profiles: Vec<Raw>,
    #[prost(string, tag = "2")]
    next_page_token: String,
}

/// The page, with the way to the next one if a row was read that has no room on it.
fn encode(size: u32, read: &Labelled) -> Result<Bytes, Db> {
    let shown = &read.rows[..read.rows.len().min(size as usize)];
    let profiles = shown.iter().map(|row| Ok(store::entity(row)?.raw()));
    let mut listed = Listed {
        profiles: profiles.collect::<Result<_, Db>>()?,
        ..Listed::default()
    };
    if let Some(last) = shown.last().filter(|_| read.rows.len() > shown.len()) {
        listed.next_page_token = query().token(last.get::<&str>(0)?.as_bytes());
    }
    Ok(listed.encode_to_vec().into())
}
