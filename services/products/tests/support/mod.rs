//! Replicas of the products service, and what is asked of them.
#![allow(
    dead_code,
    missing_docs,
    reason = "each test file uses its own part of it"
)]

use anyhow::Result;
use larder::remote::hub::Hub;
use larder_host::Parts;
use larder_host::trial::{Home, Replica, asking, said};
use larder_products::Products;
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::products::v1::*;
use larder_runtime::client::Client;
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

pub struct Node {
    pub replica: Replica,
    pub client: ProductServiceClient<Client>,
}

impl Node {
    /// A replica that is ready, on a hub of its own.
    pub async fn alone(home: &Home) -> Result<Self> {
        Self::on(home, &Hub::new()).await
    }

    pub async fn on(home: &Home, hub: &Arc<Hub>) -> Result<Self> {
        Self::of(home.parts(hub)).await
    }

    pub async fn of(parts: Parts) -> Result<Self> {
        let replica = Replica::ready(Products, parts).await?;
        let client = ProductServiceClient::new(replica.client());
        Ok(Self { replica, client })
    }

    pub async fn get(&self, id: &str) -> Result<Response<Product>, Status> {
        self.get_asking(id, &[]).await
    }

    pub async fn get_asking(
        &self,
        id: &str,
        metadata: &[(&'static str, &str)],
    ) -> Result<Response<Product>, Status> {
        let request = GetProductRequest { id: id.to_owned() };
        self.client
            .clone()
            .get_product(asking(request, metadata))
            .await
    }

    pub async fn create(&self, product: Product) -> Result<Response<Product>, Status> {
        let request = CreateProductRequest {
            product: Some(product),
        };
        self.client.clone().create_product(request).await
    }

    pub async fn update(
        &self,
        product: Product,
        mask: Option<&[&str]>,
        expected_version: Option<u64>,
    ) -> Result<Response<Product>, Status> {
        let paths = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
        let update_mask = mask.map(|mask| prost_types::FieldMask { paths: paths(mask) });
        let request = UpdateProductRequest {
            product: Some(product),
            update_mask,
            expected_version,
        };
        self.client.clone().update_product(request).await
    }

    pub async fn delete(
        &self,
        id: &str,
        version: Option<u64>,
    ) -> Result<Response<Product>, Status> {
        let request = DeleteProductRequest {
            id: id.to_owned(),
            expected_version: version,
        };
        self.client.clone().delete_product(request).await
    }

    pub async fn batch(&self, ids: &[&str]) -> Result<Response<BatchGetProductsResponse>, Status> {
        let ids = ids.iter().map(|&id| id.to_owned()).collect();
        self.client
            .clone()
            .batch_get_products(BatchGetProductsRequest { ids })
            .await
    }

    pub async fn list(
        &self,
        list: ListProductsRequest,
        metadata: &[(&'static str, &str)],
    ) -> Result<Response<ListProductsResponse>, Status> {
        self.client
            .clone()
            .list_products(asking(list, metadata))
            .await
    }

    /// The ids of a whole list, page by page.
    pub async fn walk(&self, list: &ListProductsRequest) -> Result<Vec<String>> {
        let (mut ids, mut next) = (Vec::new(), String::new());
        loop {
            let request = ListProductsRequest {
                page_token: next,
                ..list.clone()
            };
            let page = self.list(request, &[]).await?.into_inner();
            ids.extend(page.products.into_iter().map(|product| product.id));
            next = page.next_page_token;
            if next.is_empty() {
                return Ok(ids);
            }
        }
    }
}

/// A product that is as good as any.
pub fn kettle() -> Product {
    priced("kettle", "kitchen", 1999)
}

pub fn priced(id: &str, category: &str, price_cents: i64) -> Product {
    Product {
        id: id.to_owned(),
        title: format!("The {id}"),
        description: "does one thing well".to_owned(),
        category: category.to_owned(),
        price_cents,
        stock: 3,
        version: 0,
    }
}

/// The first page of a list of so many products.
pub fn page(category: &str, order: ProductOrder, size: i32) -> ListProductsRequest {
    ListProductsRequest {
        category: category.to_owned(),
        order: order.into(),
        page_size: size,
        page_token: String::new(),
    }
}

/// `larder-source` of an answer.
pub fn source(metadata: &MetadataMap) -> &str {
    said(metadata, "larder-source")
}

pub fn token(metadata: &MetadataMap) -> String {
    said(metadata, "larder-token").to_owned()
}
