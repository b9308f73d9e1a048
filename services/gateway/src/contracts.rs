//! The services' contracts, as they describe themselves: what JSON is made by, and what OpenAPI
//! says.

use larder_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, FileDescriptor, MethodDescriptor, SerializeOptions};
use std::sync::LazyLock;

/// Every contract.
pub static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the contracts are compiled in")
});

/// How messages are written: the canonical JSON of protobuf, but that fields have the names of
/// the contract, all of them are there, and numbers of 64 bits are numbers. No count, price or
/// version comes near 2^53, up to which every reader of JSON is exact.
pub const JSON: SerializeOptions = SerializeOptions::new()
    .use_proto_field_name(true)
    .skip_default_fields(false)
    .stringify_64_bit_integers(false);

/// A method: `larder.products.v1.ProductService/GetProduct`.
pub fn method(name: &str) -> Option<MethodDescriptor> {
    let (service, method) = name.split_once('/')?;
    let service = POOL.get_service_by_name(service)?;
    service.methods().find(|found| found.name() == method)
}

/// What the contract says of the thing at this path of its file.
pub fn comment(file: &FileDescriptor, path: &[i32]) -> Option<String> {
    let info = file.file_descriptor_proto().source_code_info.as_ref()?;
    let location = info.location.iter().find(|found| found.path == path)?;
    let lines = location.leading_comments().lines();
    // Lines end where the file's are full; paragraphs are told by empty lines.
    let text: Vec<_> = lines.map(str::trim).collect();
    let paragraphs = text.split(|line| line.is_empty());
    let paragraphs: Vec<_> = paragraphs.map(|lines| lines.join(" ")).collect();
    Some(paragraphs.join("\n\n").trim().to_owned()).filter(|text| !text.is_empty())
}
