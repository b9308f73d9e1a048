//! Replicas of the profiles service, and what is asked of them.
#![allow(
    dead_code,
    missing_docs,
    reason = "each test file uses its own part of it"
)]

use anyhow::Result;
use larder::remote::hub::Hub;
use larder_host::Parts;
use larder_host::trial::{Home, Replica, asking, said};
use larder_profiles::Profiles;
use larder_proto::profiles::v1::profile_service_client::ProfileServiceClient;
use larder_proto::profiles::v1::*;
use larder_runtime::client::Client;
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

pub struct Node {
    pub replica: Replica,
    pub client: ProfileServiceClient<Client>,
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
        let replica = Replica::ready(Profiles, parts).await?;
        let client = ProfileServiceClient::new(replica.client());
        Ok(Self { replica, client })
    }

    pub async fn get(&self, id: &str) -> Result<Response<Profile>, Status> {
        self.get_asking(id, &[]).await
    }

    pub async fn get_asking(
        &self,
        id: &str,
        metadata: &[(&'static str, &str)],
    ) -> Result<Response<Profile>, Status> {
        let request = GetProfileRequest { id: id.to_owned() };
        self.client
            .clone()
            .get_profile(asking(request, metadata))
            .await
    }

    pub async fn create(&self, profile: Profile) -> Result<Response<Profile>, Status> {
        let request = CreateProfileRequest {
            profile: Some(profile),
        };
        self.client.clone().create_profile(request).await
    }

    pub async fn update(
        &self,
        profile: Profile,
        mask: Option<&[&str]>,
        expected_version: Option<u64>,
    ) -> Result<Response<Profile>, Status> {
        let paths = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
        let update_mask = mask.map(|mask| prost_types::FieldMask { paths: paths(mask) });
        let request = UpdateProfileRequest {
            profile: Some(profile),
            update_mask,
            expected_version,
        };
        self.client.clone().update_profile(request).await
    }

    pub async fn delete(
        &self,
        id: &str,
        version: Option<u64>,
    ) -> Result<Response<Profile>, Status> {
        let request = DeleteProfileRequest {
            id: id.to_owned(),
            expected_version: version,
        };
        self.client.clone().delete_profile(request).await
    }

    pub async fn batch(&self, ids: &[&str]) -> Result<Response<BatchGetProfilesResponse>, Status> {
        let ids = ids.iter().map(|&id| id.to_owned()).collect();
        self.client
            .clone()
            .batch_get_profiles(BatchGetProfilesRequest { ids })
            .await
    }

    pub async fn list(
        &self,
        size: i32,
        token: &str,
    ) -> Result<Response<ListProfilesResponse>, Status> {
        let request = ListProfilesRequest {
            page_size: size,
            page_token: token.to_owned(),
        };
        self.client.clone().list_profiles(request).await
    }
}

/// A profile that is as good as any.
pub fn ada() -> Profile {
    named("ada", "Ada")
}

pub fn named(id: &str, name: &str) -> Profile {
    Profile {
        id: id.to_owned(),
        display_name: name.to_owned(),
        bio: "counts".to_owned(),
        avatar_url: "https://pictures.example/a.jpg".to_owned(),
        followers: 7,
        version: 0,
    }
}

/// `larder-source` of an answer.
pub fn source(metadata: &MetadataMap) -> &str {
    said(metadata, "larder-source")
}

pub fn token(metadata: &MetadataMap) -> String {
    said(metadata, "larder-token").to_owned()
}
