//! Replicas of the comments service and of the profiles that it asks, and what is asked of them.
#![allow(
    dead_code,
    missing_docs,
    reason = "each test file uses its own part of it"
)]

use anyhow::Result;
use larder::remote::hub::Hub;
use larder_comments::Comments;
use larder_host::Parts;
use larder_host::trial::{Home, Replica, asking, said};
use larder_profiles::Profiles;
use larder_proto::comments::v1::comment_service_client::CommentServiceClient;
use larder_proto::comments::v1::*;
use larder_proto::profiles::v1::profile_service_client::ProfileServiceClient;
use larder_proto::profiles::v1::{CreateProfileRequest, Profile, UpdateProfileRequest};
use larder_runtime::client::{self, Client};
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

/// An answer that is a minute old will do: what is seen is then due to news alone.
pub const OLD: [(&str, &str); 1] = [("larder-max-staleness-ms", "60000")];
/// An answer of now, from the databases.
pub const STRONG: [(&str, &str); 1] = [("larder-freshness", "strong")];
/// Where nobody answers.
pub const NOBODY: &str = "http://127.0.0.1:1";

/// A replica of comments.
pub struct Node {
    pub replica: Replica,
    pub client: CommentServiceClient<Client>,
}

/// A replica of profiles.
pub struct People {
    pub replica: Replica,
    pub client: ProfileServiceClient<Client>,
}

/// One replica of each, on one hub.
pub struct House {
    pub people: People,
    pub comments: Node,
    pub hub: Arc<Hub>,
    pub home: Home,
}

impl House {
    pub async fn new(home: Home) -> Result<Self> {
        let hub = Hub::new();
        let people = People::of(home.parts(&hub)).await?;
        let comments = Node::of(home.parts(&hub), &people.url()).await?;
        Ok(Self {
            people,
            comments,
            hub,
            home,
        })
    }

    /// One more replica of comments.
    pub async fn another(&self) -> Result<Node> {
        Node::of(self.home.parts(&self.hub), &self.people.url()).await
    }

    /// One more that never asks the feed of its own source, so that all it hears of are hints.
    pub async fn deaf(&self) -> Result<Node> {
        let mut parts = self.home.parts(&self.hub);
        parts.timing.poll = None;
        Node::of(parts, &self.people.url()).await
    }
}

impl People {
    pub async fn of(parts: Parts) -> Result<Self> {
        let replica = Replica::ready(Profiles, parts).await?;
        let client = ProfileServiceClient::new(replica.client());
        Ok(Self { replica, client })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.replica.grpc)
    }

    pub async fn create(&self, id: &str, name: &str) -> Result<Response<Profile>, Status> {
        self.create_followed(id, name, 7).await
    }

    pub async fn create_followed(
        &self,
        id: &str,
        name: &str,
        followers: i64,
    ) -> Result<Response<Profile>, Status> {
        let profile = Profile {
            id: id.to_owned(),
            display_name: name.to_owned(),
            bio: "counts".to_owned(),
            followers,
            ..Profile::default()
        };
        let profile = Some(profile);
        self.client
            .clone()
            .create_profile(CreateProfileRequest { profile })
            .await
    }

    /// Renames, and returns the token.
    pub async fn rename(&self, id: &str, name: &str) -> Result<String> {
        let profile = Profile {
            id: id.to_owned(),
            display_name: name.to_owned(),
            ..Profile::default()
        };
        let request = UpdateProfileRequest {
            profile: Some(profile),
            ..UpdateProfileRequest::default()
        };
        let renamed = self.client.clone().update_profile(request).await?;
        Ok(token(renamed.metadata()))
    }
}

impl Node {
    /// A replica that is ready, and asks these replicas of profiles.
    pub async fn of(parts: Parts, profiles: &str) -> Result<Self> {
        Self::with(parts, profiles, |comments| comments).await
    }

    /// The same, of a service that is set up so.
    pub async fn with(
        parts: Parts,
        profiles: &str,
        set: impl FnOnce(Comments) -> Comments,
    ) -> Result<Self> {
        let profiles = Client::new("profiles of the test", profiles, client::Limits::default())?;
        let replica = Replica::ready(set(Comments::new(profiles)), parts).await?;
        let client = CommentServiceClient::new(replica.client());
        Ok(Self { replica, client })
    }

    pub async fn get(&self, id: &str) -> Result<Response<Comment>, Status> {
        self.get_asking(id, &[]).await
    }

    pub async fn get_asking(
        &self,
        id: &str,
        metadata: &[(&'static str, &str)],
    ) -> Result<Response<Comment>, Status> {
        let request = GetCommentRequest { id: id.to_owned() };
        self.client
            .clone()
            .get_comment(asking(request, metadata))
            .await
    }

    pub async fn create(&self, comment: Comment) -> Result<Response<Comment>, Status> {
        let comment = Some(comment);
        self.client
            .clone()
            .create_comment(CreateCommentRequest { comment })
            .await
    }

    pub async fn update(
        &self,
        comment: Comment,
        mask: Option<&[&str]>,
        expected_version: Option<u64>,
    ) -> Result<Response<Comment>, Status> {
        let paths = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
        let update_mask = mask.map(|mask| prost_types::FieldMask { paths: paths(mask) });
        let request = UpdateCommentRequest {
            comment: Some(comment),
            update_mask,
            expected_version,
        };
        self.client.clone().update_comment(request).await
    }

    pub async fn delete(
        &self,
        id: &str,
        version: Option<u64>,
    ) -> Result<Response<Comment>, Status> {
        let request = DeleteCommentRequest {
            id: id.to_owned(),
            expected_version: version,
        };
        self.client.clone().delete_comment(request).await
    }

    /// The first page of a product's comments.
    pub async fn list(&self, product: &str) -> Result<Response<ListCommentsResponse>, Status> {
        self.list_asking(product, &[]).await
    }

    pub async fn list_asking(
        &self,
        product: &str,
        metadata: &[(&'static str, &str)],
    ) -> Result<Response<ListCommentsResponse>, Status> {
        let request = ListCommentsRequest {
            product_id: product.to_owned(),
            ..ListCommentsRequest::default()
        };
        self.client
            .clone()
            .list_comments(asking(request, metadata))
            .await
    }

    pub async fn page(
        &self,
        product: &str,
        size: i32,
        token: &str,
    ) -> Result<Response<ListCommentsResponse>, Status> {
        let request = ListCommentsRequest {
            product_id: product.to_owned(),
            page_size: size,
            page_token: token.to_owned(),
        };
        self.client.clone().list_comments(request).await
    }

    /// The ids on the first page, however old.
    pub async fn ids(&self, product: &str) -> Result<Vec<String>, Status> {
        let page = self.list_asking(product, &OLD).await?.into_inner();
        Ok(page
            .comments
            .into_iter()
            .map(|comment| comment.id)
            .collect())
    }

    /// The names on the first page, and where they come from.
    pub async fn names(
        &self,
        product: &str,
        metadata: &[(&'static str, &str)],
    ) -> Result<(Vec<String>, String), Status> {
        let page = self.list_asking(product, metadata).await?;
        let from = source(page.metadata()).to_owned();
        let comments = page.into_inner().comments.into_iter();
        Ok((
            comments
                .map(|comment| comment.author_display_name)
                .collect(),
            from,
        ))
    }
}

/// A comment that is as good as any.
pub fn by(id: &str, product: &str, author: &str) -> Comment {
    Comment {
        id: id.to_owned(),
        product_id: product.to_owned(),
        author_id: author.to_owned(),
        body: "It boils.".to_owned(),
        ..Comment::default()
    }
}

/// The same, of Ada on the kettle.
pub fn note(id: &str) -> Comment {
    by(id, "kettle", "ada")
}

/// `larder-source` of an answer.
pub fn source(metadata: &MetadataMap) -> &str {
    said(metadata, "larder-source")
}

pub fn token(metadata: &MetadataMap) -> String {
    said(metadata, "larder-token").to_owned()
}
