//! A page of a product's comments: what ListComments asks for, what is cached of it, and how the
//! authors' names are joined to that.
//!
//! Messages are never decoded for it. In protobuf, two encodings of one message put behind each
//! other are an encoding of both together, so that a name is joined to a comment by writing it
//! behind the comment's bytes.

use crate::model::{AuthorId, ProductId};
use bytes::{BufMut, Bytes, BytesMut};
use larder::{Key, Tag, Value};
use larder_api::page::{Query, Sizes};
use larder_proto::Framed;
use larder_proto::comments::v1 as wire;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use std::collections::HashMap;
use std::fmt::Write as _;
use tonic::Status;

const SIZES: Sizes = Sizes {
    default: 25,
    most: 100,
};
/// `ListCommentsResponse.comments`
const COMMENTS: u32 = 1;
/// `ListCommentsResponse.next_page_token`
const NEXT_PAGE_TOKEN: u32 = 2;
/// `Comment.author_display_name`
const NAME: u32 = 7;

/// A page of a list: the newest so many comments of a product before a moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Page {
    /// What they are about.
    pub product: ProductId,
    /// How many at most.
    pub size: u32,
    /// Time and id of the last comment on the page before.
    pub before: Option<(i64, String)>,
}

impl Page {
    /// The page that a request asks for.
    pub fn new(request: wire::ListCommentsRequest) -> Result<Self, Status> {
        let product = ProductId::parse("product_id", request.product_id)?;
        let size = SIZES.of(request.page_size)?;
        let before = query(&product).position(&request.page_token, position)?;
        Ok(Self {
            product,
            size,
            before,
        })
    }

    /// The page that is asked for when nothing is said but its product.
    pub fn first(product: ProductId) -> Self {
        Self {
            product,
            size: SIZES.default,
            before: None,
        }
    }

    /// The token of the page that begins after this comment.
    pub fn token_after(&self, created_at: i64, id: &str) -> String {
        let mut position = created_at.to_be_bytes().to_vec();
        position.extend(id.as_bytes());
        query(&self.product).token(&position)
    }
}

fn query(product: &ProductId) -> Query {
    Query::new("ListComments", &[product.as_str()])
}

/// What [`Page::token_after`] put into a token.
fn position(bytes: &[u8]) -> Option<(i64, String)> {
    let (created_at, id) = bytes.split_first_chunk()?;
    let id = String::from_utf8(id.to_vec()).ok()?;
    Some((i64::from_be_bytes(*created_at), id))
}

/// `kettle/25/1700000000000000/comment-7`, the last two empty for the first page.
impl Key for Page {
    fn write(&self, text: &mut String) {
        let _ = write!(text, "{}/{}/", self.product.as_str(), self.size);
        if let Some((created_at, id)) = &self.before {
            let _ = write!(text, "{created_at}/{id}");
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let product = ProductId::read(parts.next()?)?;
        let size = parts.next()?.parse().ok()?;
        let before = match parts.next()? {
            "" => None,
            before => {
                let (created_at, id) = before.split_once('/')?;
                Some((created_at.parse().ok()?, id.to_owned()))
            }
        };
        Some(Self {
            product,
            size,
            before,
        })
    }

    fn tags(&self, tags: &mut Vec<Tag>) {
        tags.push(Tag::of("comments.product", self.product.as_str()));
    }
}

/// The comments of a page, without names.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Listed {
    /// Encoded comments, each with the place of its author among `authors`.
    comments: Vec<(Bytes, u32)>,
    /// Who wrote them, each once.
    authors: Vec<AuthorId>,
    next_page_token: String,
}

impl Listed {
    /// Of these comments, in this order.
    pub fn new(
        comments: impl IntoIterator<Item = (Bytes, AuthorId)>,
        next_page_token: String,
    ) -> Self {
        let mut listed = Self {
            next_page_token,
            ..Self::default()
        };
        let mut places = HashMap::new();
        for (comment, author) in comments {
            let authors = &mut listed.authors;
            let place = *places.entry(author).or_insert_with_key(|author| {
                authors.push(author.clone());
                authors.len() as u32 - 1
            });
            listed.comments.push((comment, place));
        }
        listed
    }

    /// Who wrote the comments, each once.
    pub fn authors(&self) -> &[AuthorId] {
        &self.authors
    }

    /// The answer: each comment with its author's name, the names in the order of the authors.
    pub fn signed(&self, names: &[Bytes]) -> Framed {
        let name = |place: u32| names.get(place as usize).map_or(&[][..], |name| &name[..]);
        let token = self.next_page_token.as_bytes();
        let comment_len = |(comment, place): &(Bytes, u32)| {
            field_len(COMMENTS, comment.len() + name_len(name(*place)))
        };
        let len = self.comments.iter().map(comment_len).sum::<usize>();
        let len = len + field_len(NEXT_PAGE_TOKEN, token.len());
        Framed::written(len, |answer| {
            for (comment, place) in &self.comments {
                let name = name(*place);
                begin_field(COMMENTS, comment.len() + name_len(name), answer);
                answer.put_slice(comment);
                put_name(name, answer);
            }
            if !token.is_empty() {
                begin_field(NEXT_PAGE_TOKEN, token.len(), answer);
                answer.put_slice(token);
            }
        })
    }
}

/// A comment with its author's name.
pub fn signed(comment: &Framed, name: &[u8]) -> Bytes {
    if name.is_empty() {
        return comment.message();
    }
    let comment = comment.as_message();
    let mut signed = BytesMut::with_capacity(comment.len() + name_len(name));
    signed.put_slice(comment);
    put_name(name, &mut signed);
    signed.freeze()
}

fn put_name(name: &[u8], message: &mut BytesMut) {
    // As everywhere, what is empty is not there.
    if !name.is_empty() {
        begin_field(NAME, name.len(), message);
        message.put_slice(name);
    }
}

fn name_len(name: &[u8]) -> usize {
    if name.is_empty() {
        0
    } else {
        field_len(NAME, name.len())
    }
}

fn begin_field(tag: u32, len: usize, message: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, message);
    encode_varint(len as u64, message);
}

fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

/// A page as it is in the remote tier.
#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    comments: Vec<Bytes>,
    #[prost(uint32, repeated, tag = "2")]
    places: Vec<u32>,
    #[prost(string, repeated, tag = "3")]
    authors: Vec<String>,
    #[prost(string, tag = "4")]
    next_page_token: String,
}

impl Value for Listed {
    fn encode(&self) -> Bytes {
        let (comments, places) = self.comments.iter().cloned().unzip();
        let authors = self.authors.iter().map(|author| author.as_str().to_owned());
        let stored = Stored {
            comments,
            places,
            authors: authors.collect(),
            next_page_token: self.next_page_token.clone(),
        };
        stored.encode_to_vec().into()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        let stored = Stored::decode(bytes).ok()?;
        let authors = stored.authors.iter().map(|author| AuthorId::read(author));
        let authors = authors.collect::<Option<Vec<_>>>()?;
        let known = |place: &u32| (*place as usize) < authors.len();
        let whole = stored.comments.len() == stored.places.len();
        (whole && stored.places.iter().all(known)).then(|| Self {
            comments: stored.comments.into_iter().zip(stored.places).collect(),
            authors,
            next_page_token: stored.next_page_token,
        })
    }

    fn weight(&self) -> usize {
        let comments = self.comments.iter().map(|(comment, _)| comment.len() + 40);
        let authors = self.authors.iter().map(|author| author.as_str().len() + 24);
        let texts = comments.chain(authors).sum::<usize>();
        size_of::<Self>() + texts + self.next_page_token.len()
    }
}

#[cfg(test)]
mod tests;
