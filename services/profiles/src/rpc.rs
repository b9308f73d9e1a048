//! The generated trait: check the request, ask the cache or the store, answer.

use crate::caching::{Keyspaces, Page, query};
use crate::model::{Change, Draft, ProfileId};
use crate::store::{Done, Refused, Store};
use bytes::Bytes;
use http::HeaderMap;
use larder_api::page::Sizes;
use larder_host::{Base, found, found_at_once, written};
use larder_proto::Raw;
use larder_proto::profiles::v1 as wire;
use larder_proto::profiles::v1::raw::profile_service_server::ProfileService;
use larder_runtime::shortcut::{Reply, Shortcut};
use larder_runtime::status;
use larder_wire::{Mark, mark, refusal};
use prost::Message;
use std::collections::HashSet;
use tonic::{Request, Response, Status};

/// Ids that one call may ask for.
const MOST_IDS: usize = 200;
const SIZES: Sizes = Sizes {
    default: 25,
    most: 100,
};
const KIND: &str = "profile";
const GET: &str = "/larder.profiles.v1.ProfileService/GetProfile";

/// The service's handlers.
pub struct Rpc {
    base: Base,
    store: Store,
    keyspaces: Keyspaces,
}

impl Rpc {
    /// On this base, these rows and these keyspaces.
    pub fn new(base: &Base, store: Store, keyspaces: Keyspaces) -> Self {
        Self {
            base: base.clone(),
            store,
            keyspaces,
        }
    }

    /// Runs a write of this profile and what follows its commit, with or without its caller.
    async fn write(
        &self,
        id: ProfileId,
        write: impl Future<Output = Result<Done, Refused>> + Send + 'static,
    ) -> Result<Response<Raw>, Status> {
        let profiles = self.keyspaces.profiles.clone();
        let write = self.base.write(async move {
            let (row, lines) = write.await.map_err(|refused| told(&refused, &id))?;
            let token = profiles.wrote(&[id], lines).await;
            Ok(written(&row, token))
        });
        write.await
    }
}

/// `BatchGetProfilesResponse`, of rows that are encoded already.
#[derive(Clone, PartialEq, Message)]
struct Batch {
    #[prost(message, repeated, tag = "1")]
    profiles: Vec<Raw>,
    #[prost(string, repeated, tag = "2")]
    missing_ids: Vec<String>,
}

impl Shortcut for Rpc {
    fn serves(&self, path: &str) -> bool {
        path == GET
    }

    fn answer(&self, _: &str, metadata: &HeaderMap, message: Bytes) -> Option<Reply> {
        let read = self.base.read_at_once(metadata)?;
        let id = wire::GetProfileRequest::decode(message).ok()?.id;
        let id = ProfileId::parse("id", id).ok()?;
        found_at_once(&self.keyspaces.profiles.peek(&id, &read)?)
    }
}

#[tonic::async_trait]
impl ProfileService for Rpc {
    async fn get_profile(
        &self,
        request: Request<wire::GetProfileRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let id = ProfileId::parse("id", request.into_inner().id)?;
        let answer = self.keyspaces.profiles.get(&id, &read).await;
        found(&answer.map_err(|error| refusal(&error))?, KIND, id.as_str())
    }

    async fn batch_get_profiles(
        &self,
        request: Request<wire::BatchGetProfilesRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let ids = distinct(request.into_inner().ids)?;
        let answers = self.keyspaces.profiles.get_many(&ids, &read).await;
        let answers = answers.map_err(|error| refusal(&error))?;
        let mut batch = Batch::default();
        for (id, answer) in ids.iter().zip(&answers) {
            match answer.value() {
                Some(row) => batch.profiles.push(row.raw()),
                None => batch.missing_ids.push(id.as_str().to_owned()),
            }
        }
        let whole = answers.iter().map(Mark::of).reduce(Mark::and);
        let batch = Raw::of(&batch);
        Ok(match whole {
            Some(whole) => mark(batch, whole, None),
            None => Response::new(batch),
        })
    }

    async fn list_profiles(
        &self,
        request: Request<wire::ListProfilesRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let request = request.into_inner();
        let position = |bytes: &[u8]| ProfileId::read(std::str::from_utf8(bytes).ok()?);
        let page = Page {
            size: SIZES.of(request.page_size)?,
            after: query().position(&request.page_token, position)?,
        };
        let answer = self.keyspaces.list.get(&page, &read).await;
        let answer = answer.map_err(|error| refusal(&error))?;
        let page = answer.value().cloned().unwrap_or_default();
        Ok(mark(Raw::from(page), Mark::of(&answer), None))
    }

    async fn create_profile(
        &self,
        request: Request<wire::CreateProfileRequest>,
    ) -> Result<Response<Raw>, Status> {
        let (draft, store) = (Draft::new(request.into_inner())?, self.store.clone());
        self.write(draft.id.clone(), async move { store.create(&draft).await })
            .await
    }

    async fn update_profile(
        &self,
        request: Request<wire::UpdateProfileRequest>,
    ) -> Result<Response<Raw>, Status> {
        let (change, store) = (Change::new(request.into_inner())?, self.store.clone());
        self.write(
            change.id.clone(),
            async move { store.update(&change).await },
        )
        .await
    }

    async fn delete_profile(
        &self,
        request: Request<wire::DeleteProfileRequest>,
    ) -> Result<Response<Raw>, Status> {
        let wire::DeleteProfileRequest {
            id,
            expected_version,
        } = request.into_inner();
        let (id, store) = (ProfileId::parse("id", id)?, self.store.clone());
        self.write(id.clone(), async move {
            store.delete(&id, expected_version).await
        })
        .await
    }
}

/// The ids of a batch, each once, in the order asked.
fn distinct(ids: Vec<String>) -> Result<Vec<ProfileId>, Status> {
    if ids.len() > MOST_IDS {
        return Err(status::invalid("ids", format!("more than {MOST_IDS} ids")));
    }
    let mut seen = HashSet::with_capacity(ids.len());
    let mut distinct = Vec::with_capacity(ids.len());
    for (index, id) in ids.into_iter().enumerate() {
        let id = ProfileId::parse(&format!("ids[{index}]"), id)?;
        if seen.insert(id.clone()) {
            distinct.push(id);
        }
    }
    Ok(distinct)
}

/// What the caller of a write is told that was not made.
fn told(refused: &Refused, id: &ProfileId) -> Status {
    let id = id.as_str();
    match refused {
        Refused::Exists => status::already_exists(KIND, id),
        Refused::Missing => status::not_found(KIND, id),
        Refused::Version { expected, actual } => {
            status::version_mismatch(KIND, id, *expected, *actual)
        }
        Refused::Database(error) => larder_host::status::of_write(error, "writing a profile"),
    }
}
