//! Compiles the contracts without protoc, twice: see the crate's `raw` modules.

use prost::Message as _;
use protox::prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Their servers answer with bytes that were encoded before.
const ENTITIES: [&str; 4] = [
    "larder/comments/v1/comments.proto",
    "larder/products/v1/products.proto",
    "larder/profiles/v1/profiles.proto",
    "larder/reports/v1/reports.proto",
];
/// Their servers answer with messages. One package, so that they are compiled together.
const CACHE: [&str; 2] = ["larder/cache/v1/cache.proto", "larder/cache/v1/feed.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=larder");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let all = protox::compile(ENTITIES.into_iter().chain(CACHE), ["."])?;
    std::fs::write(out.join("larder.binpb"), all.encode_to_vec())?;
    let ours = |file: &FileDescriptorProto| CACHE.contains(&file.name());
    let imported = |file: &FileDescriptorProto| file.name().starts_with("google/");
    let cache = all.file.iter().filter(|file| ours(file) || imported(file));
    let entities: Vec<_> = all.file.iter().filter(|f| !ours(f)).cloned().collect();
    let cache = cache.cloned().collect();
    messages(&out, cache, true)?;
    raw_servers(&out, &entities)?;
    messages(&out, entities, false)
}

/// Messages and clients, and servers if `server`.
fn messages(
    out: &Path,
    file: Vec<FileDescriptorProto>,
    server: bool,
) -> Result<(), Box<dyn Error>> {
    tonic_prost_build::configure()
        .bytes(".")
        .build_server(server)
        .out_dir(out)
        .compile_fds(FileDescriptorSet { file })?;
    Ok(())
}

/// Servers alone: what they are asked is the message that [`messages`] made, and what they
/// answer is `Raw`.
fn raw_servers(out: &Path, entities: &[FileDescriptorProto]) -> Result<(), Box<dyn Error>> {
    let out = out.join("raw");
    std::fs::create_dir_all(&out)?;
    let mut build = tonic_prost_build::configure()
        .build_client(false)
        .out_dir(out);
    let file: Vec<_> = entities
        .iter()
        .filter(|file| !file.service.is_empty())
        .cloned()
        .collect();
    for file in &file {
        let answers: BTreeSet<&str> = file
            .service
            .iter()
            .flat_map(|service| &service.method)
            .map(|method| method.output_type())
            .collect();
        let module = file
            .package()
            .trim_start_matches("larder.")
            .replace('.', "::");
        let messages = file.message_type.iter().map(|message| message.name());
        for name in messages.chain(file.enum_type.iter().map(|kind| kind.name())) {
            let path = format!(".{}.{name}", file.package());
            let rust = match answers.contains(path.as_str()) {
                true => "crate::Raw".to_owned(),
                false => format!("crate::{module}::{name}"),
            };
            build = build.extern_path(path, rust);
        }
    }
    build.compile_fds(FileDescriptorSet { file })?;
    Ok(())
}
