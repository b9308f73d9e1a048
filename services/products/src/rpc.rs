//! The generated trait: check the request, ask the cache or the store, answer.

use crate::caching::Keyspaces;
use crate::catalogue::Names;
use crate::launch::{Launches, What, ahead};
use crate::listing::Listing;
use crate::model::{Change, Draft, ProductId};
use crate::store::{Done, Refused, Store};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::HeaderMap;
use larder::{Key, Keyspace, Read};
use larder_host::{Base, found, found_at_once, written};
use larder_proto::Raw;
use larder_proto::products::v1 as wire;
use larder_proto::products::v1::raw::product_service_server::ProductService;
use larder_runtime::shortcut::{Reply, Shortcut};
use larder_runtime::status;
use larder_wire::{Mark, mark, refusal};
use prost::Message;
use tonic::{Request, Response, Status};

/// Ids that one call may ask for.
const MOST_IDS: usize = 200;
const KIND: &str = "product";
const GET: &str = "/larder.products.v1.ProductService/GetProduct";

/// The service's handlers.
pub struct Rpc {
    base: Base,
    store: Store,
    keyspaces: Keyspaces,
    launches: Launches,
}

impl Rpc {
    /// On this base, these rows and these keyspaces.
    pub fn new(base: &Base, store: Store, keyspaces: Keyspaces) -> Self {
        Self {
            base: base.clone(),
            store,
            launches: Launches::new(&keyspaces.products, base.tasks()),
            keyspaces,
        }
    }

    /// Its launches.
    pub fn launches(&self) -> &Launches {
        &self.launches
    }

    /// Runs a write of this product and what follows its commit, with or without its caller.
    async fn write(
        &self,
        id: ProductId,
        write: impl Future<Output = Result<Done, Refused>> + Send + 'static,
    ) -> Result<Response<Raw>, Status> {
        let products = self.keyspaces.products.clone();
        let write = self.base.write(async move {
            let writing = products.writing(std::slice::from_ref(&id)).await;
            let (row, lines) = write.await.map_err(|refused| told(&refused, &id))?;
            let token = writing.wrote(lines).await;
            Ok(written(&row, token))
        });
        write.await
    }
}

/// `BatchGetProductsResponse`, of rows that are encoded already.
#[derive(Clone, PartialEq, Message)]
struct Batch {
    #[prost(message, repeated, tag = "1")]
    products: Vec<Raw>,
    #[prost(string, repeated, tag = "2")]
    missing_ids: Vec<String>,
}

impl Shortcut for Rpc {
    fn serves(&self, path: &str) -> bool {
        path == GET
    }

    fn answer(&self, _: &str, metadata: &HeaderMap, message: Bytes) -> Option<Reply> {
        let read = self.base.read_at_once(metadata)?;
        let id = wire::GetProductRequest::decode(message).ok()?.id;
        let id = ProductId::parse("id", id).ok()?;
        found_at_once(&self.keyspaces.products.peek(&id, &read)?)
    }
}

#[tonic::async_trait]
impl ProductService for Rpc {
    async fn get_product(
        &self,
        request: Request<wire::GetProductRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let id = ProductId::parse("id", request.into_inner().id)?;
        let answer = self.keyspaces.products.get(&id, &read).await;
        found(&answer.map_err(|error| refusal(&error))?, KIND, id.as_str())
    }

    async fn batch_get_products(
        &self,
        request: Request<wire::BatchGetProductsRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let ids = ProductId::distinct(request.into_inner().ids, MOST_IDS)?;
        let answers = self.keyspaces.products.get_many(&ids, &read).await;
        let answers = answers.map_err(|error| refusal(&error))?;
        let mut batch = Batch::default();
        for (id, answer) in ids.iter().zip(&answers) {
            match answer.value() {
                Some(row) => batch.products.push(row.raw()),
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

    async fn list_products(
        &self,
        request: Request<wire::ListProductsRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let page = Listing::new(request.into_inner())?;
        page_of(&self.keyspaces.list, &page, &read).await
    }

    async fn list_categories(
        &self,
        request: Request<wire::ListCategoriesRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let page = Names::categories(request.get_ref())?;
        page_of(&self.keyspaces.categories, &page, &read).await
    }

    async fn list_product_ids(
        &self,
        request: Request<wire::ListProductIdsRequest>,
    ) -> Result<Response<Raw>, Status> {
        let read = self.base.read(&request)?;
        let page = Names::ids(request.get_ref())?;
        page_of(&self.keyspaces.ids, &page, &read).await
    }

    async fn create_product(
        &self,
        request: Request<wire::CreateProductRequest>,
    ) -> Result<Response<Raw>, Status> {
        let (draft, store) = (Draft::new(request.into_inner())?, self.store.clone());
        self.write(draft.id.clone(), async move { store.create(&draft).await })
            .await
    }

    async fn update_product(
        &self,
        request: Request<wire::UpdateProductRequest>,
    ) -> Result<Response<Raw>, Status> {
        let (change, store) = (Change::new(request.into_inner())?, self.store.clone());
        self.write(
            change.id.clone(),
            async move { store.update(&change).await },
        )
        .await
    }

    async fn delete_product(
        &self,
        request: Request<wire::DeleteProductRequest>,
    ) -> Result<Response<Raw>, Status> {
        let wire::DeleteProductRequest {
            id,
            expected_version,
        } = request.into_inner();
        let (id, store) = (ProductId::parse("id", id)?, self.store.clone());
        self.write(id.clone(), async move {
            store.delete(&id, expected_version).await
        })
        .await
    }

    type LaunchProductsStream = BoxStream<'static, Result<Raw, Status>>;

    async fn launch_products(
        &self,
        request: Request<wire::LaunchProductsRequest>,
    ) -> Result<Response<Self::LaunchProductsStream>, Status> {
        let wire::LaunchProductsRequest {
            ids,
            category,
            launch_time,
        } = request.into_inner();
        let (what, store) = (What::new(ids, category)?, self.store.clone());
        let answers = match ahead::time(launch_time)? {
            Some(at) => self.launches.ahead(what, at, store)?.boxed(),
            None => {
                let ids = async move { what.ids(&store).await };
                self.launches.begin(ids)?.boxed()
            }
        };
        let answers = answers.map(|answer| Ok(Raw::of(&answer?)));
        Ok(Response::new(answers.boxed()))
    }
}

/// The answer that a keyspace of pages holds encoded.
async fn page_of<K: Key>(
    keyspace: &Keyspace<K, Bytes>,
    page: &K,
    read: &Read,
) -> Result<Response<Raw>, Status> {
    let answer = keyspace.get(page, read).await;
    let answer = answer.map_err(|error| refusal(&error))?;
    let page = answer.value().cloned().unwrap_or_default();
    Ok(mark(Raw::from(page), Mark::of(&answer), None))
}

/// What the caller of a write is told that was not made.
fn told(refused: &Refused, id: &ProductId) -> Status {
    let id = id.as_str();
    match refused {
        Refused::Exists => status::already_exists(KIND, id),
        Refused::Missing => status::not_found(KIND, id),
        Refused::Version { expected, actual } => {
            status::version_mismatch(KIND, id, *expected, *actual)
        }
        Refused::Database(error) => larder_host::status::of_write(error, "writing a product"),
    }
}
