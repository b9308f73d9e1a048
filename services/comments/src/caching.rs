//! Every keyspace of this service, its policy, and what moves its entries.
//!
//! | keyspace | holds | moved by a change of |
//! |---|---|---|
//! | `comments` | a row, or its absence | that row |
//! | `comments.list` | a page of a product's comments, without names | a comment of that product, also one that leaves it |
//! | `profiles` | a profile, or its absence: see `authors.rs` | that profile, in the profiles' database |
//! | the memo `rendered` | an answer of ListComments | what moves its page, or one of its authors |
//!
//! Who comments on what is journalled too, as `comments.posted`, and moves nothing: `crowd.rs`
//! follows it.
//!
//! The triggers that `store::watches` describes are the only place that says what a change
//! touches. An answer is made of two services' rows, which no single label can tell of, so that
//! it is no entry of a keyspace: it is kept beside the answers that it was made of, and holds for
//! as long as each of them.

use crate::listing::{Listed, Page};
use crate::model::{Comment, CommentId};
use crate::store::{self, Store};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use larder::policy::Invalid;
use larder::{Ask, Keyspace, Load, Loaded, Memo, Policy, load};
use larder_db::Error as Db;
use larder_host::Base;
use larder_journal::Labelled;
use larder_proto::Framed;

/// What rendered answers may take in memory.
const RENDERED_BYTES: u64 = 32 << 20;

/// The keyspaces, and the memo.
#[derive(Clone)]
pub struct Keyspaces {
    /// Comments by id. A write evicts: few comments are read again one by one.
    pub comments: Keyspace<CommentId, Comment>,
    /// Pages of ListComments, without names.
    pub list: Keyspace<Page, Listed>,
    /// Answers of ListComments, with names.
    pub rendered: Memo<Page, Framed>,
}

impl Keyspaces {
    /// Opens them.
    pub fn open(base: &Base, store: &Store) -> Result<Self, Invalid> {
        let policy = || Policy {
            fail_safe: true,
            ..Policy::default()
        };
        let source = base.source();
        let comments = source.keyspace("comments", Comments(store.clone()));
        let list = source.keyspace("comments.list", Pages(store.clone()));
        Ok(Self {
            comments: comments.policy(policy()).open()?,
            list: list.policy(policy()).open()?,
            rendered: base.larder().memo(RENDERED_BYTES),
        })
    }
}

struct Comments(Store);

impl Load<CommentId, Comment> for Comments {
    fn load<'a>(
        &'a self,
        keys: &'a [CommentId],
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Comment>>, load::Error>> {
        self.0.load(keys).boxed()
    }
}

struct Pages(Store);

impl Load<Page, Listed> for Pages {
    fn load<'a>(
        &'a self,
        keys: &'a [Page],
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Listed>>, load::Error>> {
        let pages = async move {
            let mut loaded = Vec::with_capacity(keys.len());
            for page in keys {
                // One row more tells whether there is a page behind this one.
                let read = self.0.list(page, page.size + 1).await;
                let read = read.map_err(larder_host::load::error)?;
                let proof = larder_host::load::proof(&read);
                let broken = |error: Db| larder_host::load::error(error.into());
                let listed = listed(page, &read).map_err(broken)?;
                loaded.push(larder_host::load::loaded(Some(listed), proof));
            }
            Ok(loaded)
        };
        pages.boxed()
    }
}

fn listed(page: &Page, read: &Labelled) -> Result<Listed, Db> {
    let shown = &read.rows[..read.rows.len().min(page.size as usize)];
    let next = match shown.last().filter(|_| read.rows.len() > shown.len()) {
        Some(last) => page.token_after(store::created_at(last)?, store::id(last)?),
        None => String::new(),
    };
    let comments = shown.iter().map(|row| {
        let comment = store::comment(row)?;
        Ok((comment.entity.message.message(), comment.author))
    });
    let comments = comments.collect::<Result<Vec<_>, Db>>()?;
    Ok(Listed::new(comments, next))
}
