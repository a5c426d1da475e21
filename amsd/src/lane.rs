//! From a link to the disk, in the order in which it came. While one commit runs, what comes next
//! gathers for the one after it; nothing is acknowledged before its commit.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use crate::store::StoreError;

/// Items of one commit: others' commits wait behind it.
const PER_COMMIT: usize = 128;
/// Items and bytes that may gather; when it is full, nothing more is read, and the other side keeps
/// what it has.
const MOST: (usize, usize) = (1024, 4 << 20);

/// How the items of one kind of link come to the disk.
pub(crate) trait Desk: Clone + Send + Sync + 'static {
    /// Something that came, and that the disk must know of.
    type Item: Send + Sync + 'static;
    /// What is on disk after a commit.
    type Committed: Default + Send + 'static;

    /// Bytes that wait with an item, about.
    fn size(item: &Self::Item) -> usize;

    /// Commits some of these in one transaction, by what the settings say now.
    fn commit(
        &self,
        items: Arc<Vec<Self::Item>>,
        some: Range<usize>,
    ) -> impl Future<Output = Result<Self::Committed, StoreError>> + Send;

    /// What was committed after all the rest.
    fn add(all: &mut Self::Committed, later: Self::Committed);

    /// An item that a damaged row keeps from the disk.
    fn pass_over(all: &mut Self::Committed, item: &Self::Item);
}

/// Commits all, in one transaction. Where one of them meets a damaged row, each in its own: the other
/// side would say that one again for ever, and nothing behind it would ever come through.
async fn commit_all<D: Desk>(desk: D, items: Vec<D::Item>) -> Result<D::Committed, StoreError> {
    let items = Arc::new(items);
    let whole = 0..items.len();
    match desk.commit(Arc::clone(&items), whole.clone()).await {
        Err(StoreError::Damaged(_)) => {}
        done => return done,
    }
    let mut all = D::Committed::default();
    for (index, item) in whole.zip(items.iter()) {
        match desk.commit(Arc::clone(&items), index..index.saturating_add(1)).await {
            Ok(one) => D::add(&mut all, one),
            Err(error @ StoreError::Damaged(_)) => {
                tracing::error!(%error, "something that came could not be kept");
                D::pass_over(&mut all, item);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

type Commit<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// The way of one link's things to the disk.
pub(crate) struct Lane<D: Desk> {
    // Set once.
    desk: D,
    // Owned by the link.
    gathered: Vec<D::Item>,
    bytes: usize,
    commit: Option<Commit<D::Committed>>,
}

impl<D: Desk> Lane<D> {
    pub(crate) fn new(desk: D) -> Self {
        Self { desk, gathered: Vec::new(), bytes: 0, commit: None }
    }

    /// Lets an item wait for the next commit.
    pub(crate) fn push(&mut self, item: D::Item) {
        self.bytes = self.bytes.saturating_add(D::size(&item));
        self.gathered.push(item);
    }

    /// Whether more may be read from the link.
    pub(crate) fn has_room(&self) -> bool {
        self.gathered.len() < MOST.0 && self.bytes < MOST.1
    }

    /// Whether a commit is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.commit.is_some()
    }

    /// Begins the next commit, if something waits and none is under way.
    pub(crate) fn begin(&mut self) {
        if self.is_busy() || self.gathered.is_empty() {
            return;
        }
        let rest = self.gathered.split_off(self.gathered.len().min(PER_COMMIT));
        let items = std::mem::replace(&mut self.gathered, rest);
        let size: usize = items.iter().map(D::size).sum();
        self.bytes = self.bytes.saturating_sub(size);
        self.commit = Some(Box::pin(commit_all(self.desk.clone(), items)));
    }

    /// The commit that is under way is on disk, or failed. Waits for ever where there is none.
    pub(crate) async fn committed(&mut self) -> Result<D::Committed, StoreError> {
        let Some(commit) = &mut self.commit else { return std::future::pending().await };
        let done = commit.as_mut().await;
        self.commit = None;
        done
    }

    /// The link ended: waits for the commit that is under way, so that what it holds is told.
    pub(crate) async fn finish(&mut self) -> Option<D::Committed> {
        if self.is_busy() { self.committed().await.ok() } else { None }
    }
}
