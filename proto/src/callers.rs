//! Who of the suite calls what: the edges of the call graph, and no others.
//!
//! A caller's name is what its certificate says. That it stands here does not let anybody in: each
//! process is told whom it may be called by, and this says what they may call there.

/// The callers that are known, and all that each of them calls: methods as
/// `/package.Service/Method`, or a whole service as `/package.Service/`.
pub const KNOWN: &[(&str, &[&str])] = &[
    (
        "gateway",
        &[
            "/larder.profiles.v1.ProfileService/",
            "/larder.products.v1.ProductService/",
            "/larder.comments.v1.CommentService/",
            "/larder.reports.v1.ReportService/",
            // Hooks and the console; what it has no use for (Warm, Check) it may not.
            "/larder.cache.v1.CacheService/Invalidate",
            "/larder.cache.v1.CacheService/ListKeyspaces",
            "/larder.cache.v1.CacheService/GetStats",
            "/larder.cache.v1.CacheService/ListHotKeys",
            "/larder.cache.v1.CacheService/Inspect",
            "/larder.cache.v1.CacheService/Watch",
        ],
    ),
    (
        "comments",
        &[
            "/larder.cache.v1.FeedService/",
            "/larder.profiles.v1.ProfileService/GetProfile",
            "/larder.profiles.v1.ProfileService/BatchGetProfiles",
        ],
    ),
    (
        "reports",
        &[
            "/larder.cache.v1.FeedService/",
            "/larder.products.v1.ProductService/GetProduct",
            "/larder.products.v1.ProductService/BatchGetProducts",
        ],
    ),
    // They are called, and call nobody.
    ("profiles", &[]),
    ("products", &[]),
    ("operator", &["/larder.cache.v1.CacheService/"]),
];

/// What callers that are not of the suite may call, once a process was told of them: not the feed,
/// and nothing of the cache.
pub const OTHERS: &[&str] = &[
    "/larder.profiles.v1.ProfileService/",
    "/larder.products.v1.ProductService/",
    "/larder.comments.v1.CommentService/",
    "/larder.reports.v1.ReportService/",
];

/// What changes something, of that which those who run a process may call. A check drops what it
/// finds wrong.
pub const CHANGES: &[&str] = &[
    "/larder.cache.v1.CacheService/Invalidate",
    "/larder.cache.v1.CacheService/Warm",
    "/larder.cache.v1.CacheService/Check",
];

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    #[test]
    fn everything_that_may_be_called_exists() {
        let set = FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).expect("descriptors");
        let methods: Vec<_> = set
            .file
            .iter()
            .flat_map(|file| {
                let package = file.package();
                file.service.iter().flat_map(move |service| {
                    let method = service.method.iter();
                    method.map(move |m| format!("/{package}.{}/{}", service.name(), m.name()))
                })
            })
            .collect();
        let known = KNOWN.iter().flat_map(|(_, methods)| methods.iter());
        for path in known.chain(OTHERS).chain(CHANGES) {
            let exists = methods.iter().any(|method| match path.ends_with('/') {
                true => method.starts_with(path),
                false => method == path,
            });
            assert!(exists, "{path}");
        }
    }
}
