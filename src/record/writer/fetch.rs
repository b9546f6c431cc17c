//! Submissions on their way from the backlog into a flight.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::backlog::{Found, Rest, Taken};
use super::super::journal::Place;
use super::Writer;
use crate::user::Observation;

/// One submission, read and ready to be judged.
pub struct Fetched {
    pub number: u64,
    pub observations: Arc<[Observation]>,
    pub rest: Rest,
}

impl Writer {
    /// What only the journal holds is read from there.
    pub(super) async fn fetched(&self, taken: Vec<Taken>) -> Vec<Fetched> {
        let places: Vec<Place> = taken
            .iter()
            .filter_map(|taken| taken.observations.place())
            .collect();
        let mut read = self.read(places).await.into_iter();
        let fetched = taken.into_iter().map(|taken| Fetched {
            observations: match taken.observations {
                Found::Here(observations) => observations,
                Found::InJournal(_) => read.next().flatten().unwrap_or_default(),
            },
            number: taken.number,
            rest: taken.rest,
        });
        fetched.collect()
    }

    async fn read(&self, places: Vec<Place>) -> Vec<Option<Arc<[Observation]>>> {
        let Some(keeper) = self.shared.keeper.clone().filter(|_| !places.is_empty()) else {
            return Vec::new();
        };
        let reading = tokio::task::spawn_blocking(move || {
            let entries = places.into_iter().map(|place| keeper.entry(place));
            entries.map(|entry| Some(entry?.observations.into())).collect()
        });
        let read: Vec<Option<Arc<[Observation]>>> = reading.await.unwrap_or_default();
        let damaged = read.iter().filter(|entry| entry.is_none()).count();
        if damaged > 0 {
            self.shared
                .health
                .damaged
                .fetch_add(damaged as u64, Ordering::Relaxed);
            tracing::error!(
                damaged,
                "records of the journal are damaged: run `usertap reconcile`"
            );
        }
        read
    }
}
