//! What was rendered, kept by what it was rendered from.
//!
//! A page is asked for anew each time: the services answer from memory, and say how fresh that
//! is. Only the rendering is saved, of the page and of each block of it. What is kept is found by
//! a hash of the answers themselves, which hold their versions, so that it can be neither older
//! nor newer than they are, and there is nothing to invalidate.

use crate::document::Document;
use larder::{Larder, Memo, Read};
use larder_runtime::exposition::{Metric, Page};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SHEETS: Metric = Metric::counter(
    "larder_sheets_total",
    "Pages, and blocks of them, that were rendered or were kept.",
);
const PAGES_BYTES: u64 = 32 << 20;
const BLOCKS_BYTES: u64 = 16 << 20;

/// What is rendered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sheet {
    /// The product in a product's page.
    Product,
    /// The comments in a product's page.
    Comments,
    /// A whole product's page.
    ProductPage,
    /// A whole page of a category.
    CategoryPage,
    /// The first page of the site.
    HomePage,
}

impl Sheet {
    const ALL: [Self; 5] = [
        Self::Product,
        Self::Comments,
        Self::ProductPage,
        Self::CategoryPage,
        Self::HomePage,
    ];

    /// Its name in metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Comments => "comments",
            Self::ProductPage => "product_page",
            Self::CategoryPage => "category_page",
            Self::HomePage => "home_page",
        }
    }
}

/// A hash of everything that a sheet is made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a sheet made of these parts. Strangers write some of them, so that it must be a hash
    /// for which nobody finds two texts of the same.
    pub fn of(sheet: Sheet, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[sheet as u8]);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Its bytes, to be part of another.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Keeps what was rendered. Clones are the same one.
#[derive(Clone)]
pub struct Press {
    pages: Memo<Digest, Arc<Document>>,
    blocks: Memo<Digest, Arc<str>>,
    printed: Arc<[AtomicU64; Sheet::ALL.len()]>,
    found: Arc<[AtomicU64; Sheet::ALL.len()]>,
}

impl Press {
    /// An empty one.
    pub fn new(larder: &Larder) -> Self {
        Self {
            pages: larder.memo(PAGES_BYTES),
            blocks: larder.memo(BLOCKS_BYTES),
            printed: Arc::default(),
            found: Arc::default(),
        }
    }

    /// The page of this digest, as it is kept or else as `print` makes it.
    pub fn page(
        &self,
        sheet: Sheet,
        digest: Digest,
        print: impl FnOnce() -> String,
    ) -> Arc<Document> {
        if let Some(page) = self
            .pages
            .get(&digest, &Read::bounded(), |page, _| page.clone())
        {
            self.count(&self.found, sheet);
            return page;
        }
        self.count(&self.printed, sheet);
        let page = Arc::new(Document::new(super::layout::HTML, print()));
        let bytes = page.most_bytes();
        self.pages.put(digest, Vec::new(), page.clone(), bytes);
        page
    }

    /// The block of this digest, as it is kept or else as `print` makes it.
    pub fn block(&self, sheet: Sheet, digest: Digest, print: impl FnOnce() -> String) -> Arc<str> {
        if let Some(block) = self
            .blocks
            .get(&digest, &Read::bounded(), |block, _| block.clone())
        {
            self.count(&self.found, sheet);
            return block;
        }
        self.count(&self.printed, sheet);
        let block: Arc<str> = print().into();
        self.blocks
            .put(digest, Vec::new(), block.clone(), block.len());
        block
    }

    /// How often a sheet was rendered.
    pub fn printed(&self, sheet: Sheet) -> u64 {
        self.printed[sheet as usize].load(Ordering::Relaxed)
    }

    /// How often one was asked for that was kept.
    pub fn found(&self, sheet: Sheet) -> u64 {
        self.found[sheet as usize].load(Ordering::Relaxed)
    }

    /// The counts, for `/metrics`.
    pub fn measure(&self, page: &mut Page) {
        for sheet in Sheet::ALL {
            let counts = [
                ("printed", self.printed(sheet)),
                ("kept", self.found(sheet)),
            ];
            for (outcome, count) in counts {
                let labels = [("sheet", sheet.name()), ("outcome", outcome)];
                page.count(SHEETS, &labels, count);
            }
        }
    }

    fn count(&self, counts: &[AtomicU64; Sheet::ALL.len()], sheet: Sheet) {
        counts[sheet as usize].fetch_add(1, Ordering::Relaxed);
    }
}
