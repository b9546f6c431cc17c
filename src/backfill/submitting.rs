//! Pages on their way into the tables. Two at most are with the recorder: each has a lane, and the third is
//! the apps'. What is fetched meanwhile gathers and goes as one page, for a transaction costs as much for
//! a few users as for many.
//!
//! What must never be: more pages in memory the slower the database; a page handed over before the one in
//! front of it.

use std::future::Future;
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;

use super::WalkFault;
use crate::record::Submission;

/// One for each lane that writes pages while another is numbered.
const WRITTEN: usize = 2;
/// Users of gathered pages: apps wait while they are numbered. One page of some providers is as large.
const USERS: usize = 500;
/// Of gathered pages, in memory.
const BYTES: usize = 4 << 20;

pub(super) type Written<'w> = Pin<Box<dyn Future<Output = Result<(), WalkFault>> + Send + 'w>>;

/// `W` hands a page to the recorder; what it gives resolves once that is committed.
pub(super) struct Submitting<'w, W> {
    write: W,
    /// In their order.
    written: FuturesOrdered<Written<'w>>,
    gathered: Option<Submission>,
}

impl<'w, W: Fn(Submission) -> Written<'w>> Submitting<'w, W> {
    pub fn new(write: W) -> Submitting<'w, W> {
        Submitting {
            write,
            written: FuturesOrdered::new(),
            gathered: None,
        }
    }

    /// Takes the next page; waits while there is no room for it.
    pub async fn add(&mut self, page: Submission) -> Result<(), WalkFault> {
        while self.is_full() {
            self.settled().await?;
        }
        self.gathered = Some(match self.gathered.take() {
            Some(before) => before.with(page),
            None => page,
        });
        self.hand_over();
        Ok(())
    }

    /// The outcome, with what is under way going on meanwhile; its fault where that comes first.
    pub async fn beside<T>(
        &mut self,
        other: impl Future<Output = Result<T, WalkFault>>,
    ) -> Result<T, WalkFault> {
        let mut other = std::pin::pin!(other);
        loop {
            tokio::select! {
                biased;
                written = self.settled(), if !self.written.is_empty() => written?,
                other = &mut other => return other,
            }
        }
    }

    /// Waits until all of it is committed.
    pub async fn ended(&mut self) -> Result<(), WalkFault> {
        while !self.written.is_empty() {
            self.settled().await?;
        }
        Ok(())
    }

    /// Waits for the oldest; what has gathered goes in its place.
    async fn settled(&mut self) -> Result<(), WalkFault> {
        let written = self.written.next().await;
        self.hand_over();
        written.unwrap_or(Ok(()))
    }

    fn hand_over(&mut self) {
        if self.written.len() < WRITTEN
            && let Some(page) = self.gathered.take()
        {
            self.written.push_back((self.write)(page));
        }
    }

    fn is_full(&self) -> bool {
        let is_full = |page: &Submission| page.observations.len() >= USERS || page.weight() >= BYTES;
        self.gathered.as_ref().is_some_and(is_full)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::poll;
    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;
    use crate::user::{IdType, Observation, Origin, Seen, Source, UserId};

    fn page(users: usize) -> Submission {
        let source = Source::own(Origin::Backfill, "list users");
        let id = UserId::parse("ada", IdType::Text).expect("an id");
        vec![Observation::unasked(id, Seen::Touched, &source); users].into()
    }

    #[tokio::test]
    async fn what_comes_while_two_are_written_goes_as_one() {
        let handed: Mutex<Vec<(usize, Option<oneshot::Sender<()>>)>> = Mutex::default();
        let sizes = || {
            handed
                .lock()
                .unwrap()
                .iter()
                .map(|(users, _)| *users)
                .collect::<Vec<_>>()
        };
        let written = |at: usize| {
            let told = handed.lock().unwrap()[at].1.take().unwrap();
            told.send(()).unwrap();
        };
        let mut submitting = Submitting::new(|page: Submission| -> Written<'_> {
            let (told, written) = oneshot::channel();
            handed.lock().unwrap().push((page.observations.len(), Some(told)));
            Box::pin(async { written.await.map_err(|_| WalkFault::HandedOver) })
        });
        for _ in 0..5 {
            submitting.add(page(100)).await.unwrap();
        }
        assert_eq!(sizes(), [100, 100]);
        written(1);
        written(0);
        let is_handed_over = async {
            while sizes().len() < 3 {
                yield_now().await;
            }
            Ok(())
        };
        submitting.beside(is_handed_over).await.unwrap();
        assert_eq!(sizes(), [100, 100, 300]);
        submitting.add(page(1)).await.unwrap();
        submitting.add(page(USERS)).await.unwrap();
        {
            let mut full = Box::pin(submitting.add(page(1)));
            assert!(poll!(&mut full).is_pending(), "it waits for room");
            written(2);
            full.await.unwrap();
        }
        written(3);
        assert_eq!(sizes(), [100, 100, 300, 1, USERS]);
        handed.lock().unwrap().clear();
        assert!(matches!(submitting.ended().await, Err(WalkFault::HandedOver)));
    }
}
