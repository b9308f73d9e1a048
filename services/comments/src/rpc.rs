//! The generated trait: check the request, ask the cache or the store, answer.

use crate::authors::Authors;
use crate::caching::Keyspaces;
use crate::listing::{Page, signed};
use crate::model::{Change, Comment, CommentId, Draft};
use crate::store::{Done, Refused, Store};
use bytes::Bytes;
use http::HeaderMap;
use larder::{Error, Origin};
use larder_host::{Base, absent, written};
use larder_proto::comments::v1 as wire;
use larder_proto::comments::v1::raw::comment_service_server::CommentService;
use larder_proto::{Framed, Raw};
use larder_runtime::shortcut::{Reply, Shortcut};
use larder_runtime::status;
use larder_wire::{Mark, mark, refusal, reply};
use prost::Message as _;
use std::slice;
use tonic::{Request, Response, Status};

const KIND: &str = "comment";
const LIST: &str = "/larder.comments.v1.CommentService/ListComments";

/// The service's handlers.
pub struct Rpc {
    base: Base,
    store: Store,
    keyspaces: Keyspaces,
    authors: Authors,
}

impl Rpc {
    /// On this base, these rows, these keyspaces and these authors.
    pub fn new(base: &Base, store: Store, keyspaces: Keyspaces, authors: Authors) -> Self {
        Self {
            base: base.clone(),
            store,
            keyspaces,
            authors,
        }
    }

    /// Runs a write of this comment and what follows its commit, with or without its caller.
    async fn write(
        &self,
        id: CommentId,
        write: impl Future<Output = Result<Done, Refused>> + Send + 'static,
    ) -> Result<Response<Raw>, Status> {
        let comments = self.keyspaces.comments.clone();
        let write = self.base.write(async move {
            let (comment, lines) = write.await.map_err(|refused| told(&refused, &id))?;
            let token = comments.wrote(&[id], lines).await;
            Ok(written(&comment.entity, token))
        });
        write.await
    }

    /// A page as it is answered, and its mark. What it is made of, it is kept with, unless a name
    /// is missing that the profiles may know.
    pub(crate) async fn render(
        &self,
        page: Page,
        read: &larder::Read,
    ) -> Result<(Framed, Mark), Error> {
        let answer = self.keyspaces.list.get(&page, read).await?;
        let whole = Mark::of(&answer);
        let Some(listed) = answer.value() else {
            return Ok((Framed::copied(&[]), whole));
        };
        let names = self.authors.names(listed.authors(), read).await?;
        let rendered = listed.signed(&names.names);
        if let Some(mut parts) = names.parts {
            parts.push(self.keyspaces.list.part(&answer));
            let (kept, bytes) = (rendered.clone(), rendered.body_len());
            self.keyspaces.rendered.put(page, parts, kept, bytes);
        }
        Ok((rendered, names.mark.map_or(whole, |names| whole.and(names))))
    }
}

impl Shortcut for Rpc {
    fn serves(&self, path: &str) -> bool {
        path == LIST
    }

    fn answer(&self, _: &str, metadata: &HeaderMap, message: Bytes) -> Option<Reply> {
        let read = self.base.read_at_once(metadata)?;
        let page = Page::new(wire::ListCommentsRequest::decode(message).ok()?).ok()?;
        let origin = Origin::L1;
        let answer = |page: &Framed, age| reply(page, Mark { origin, age }, None);
        self.keyspaces.rendered.get(&page, &read, answer)
    }
}

#[tonic::async_trait]
impl CommentService for Rpc {
    async fn get_comment(
        &self,
        request: Request<wire::GetCommentRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let id = CommentId::parse("id", request.into_inner().id)?;
        let answer = self.keyspaces.comments.get(&id, &read).await;
        let answer = answer.map_err(|error| refusal(&error))?;
        let whole = Mark::of(&answer);
        let comment = answer
            .value()
            .ok_or_else(|| absent(KIND, id.as_str(), whole))?;
        let Comment { entity, author } = comment;
        let names = self.authors.names(slice::from_ref(author), &read).await;
        let names = names.map_err(|error| refusal(&error))?;
        let name = names.names.first().map_or(&[][..], |name| &name[..]);
        let whole = names.mark.map_or(whole, |names| whole.and(names));
        let message = Raw::from(signed(&entity.message, name));
        Ok(mark(message, whole, Some(entity.version)))
    }

    async fn list_comments(
        &self,
        request: Request<wire::ListCommentsRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let page = Page::new(request.into_inner())?;
        let origin = Origin::L1;
        let memo = |page: &Framed, age| mark(page.raw(), Mark { origin, age }, None);
        if let Some(answer) = self.keyspaces.rendered.get(&page, &read, memo) {
            return Ok(answer);
        }
        let rendered = self.render(page, &read).await;
        let (rendered, whole) = rendered.map_err(|error| refusal(&error))?;
        Ok(mark(rendered.raw(), whole, None))
    }

    async fn create_comment(
        &self,
        request: Request<wire::CreateCommentRequest>,
    ) -> Result<Response<Raw>, Status> {
        let (draft, store) = (Draft::new(request.into_inner())?, self.store.clone());
        self.write(draft.id.clone(), async move { store.create(&draft).await })
            .await
    }

    async fn update_comment(
        &self,
        request: Request<wire::UpdateCommentRequest>,
    ) -> Result<Response<Raw>, Status> {
        let (change, store) = (Change::new(request.into_inner())?, self.store.clone());
        self.write(
            change.id.clone(),
            async move { store.update(&change).await },
        )
        .await
    }

    async fn delete_comment(
        &self,
        request: Request<wire::DeleteCommentRequest>,
    ) -> Result<Response<Raw>, Status> {
        let wire::DeleteCommentRequest {
            id,
            expected_version,
        } = request.into_inner();
        let (id, store) = (CommentId::parse("id", id)?, self.store.clone());
        self.write(id.clone(), async move {
            store.delete(&id, expected_version).await
        })
        .await
    }
}

/// What the caller of a write is told that was not made.
fn told(refused: &Refused, id: &CommentId) -> Status {
    let id = id.as_str();
    match refused {
        Refused::Exists => status::already_exists(KIND, id),
        Refused::Missing => status::not_found(KIND, id),
        Refused::Version { expected, actual } => {
            status::version_mismatch(KIND, id, *expected, *actual)
        }
        Refused::Database(error) => larder_host::status::of_write(error, "writing a comment"),
    }
}
