//! One request at a time for each answer: who comes while it is under way waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::key::CacheKey;
use super::lock;

/// As many at most as there are requests under way.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<CacheKey, CancellationToken>>);

/// Whose turn it is to ask.
#[derive(Debug)]
pub enum Turn {
    Lead(Lead),
    /// Another asks; its end, well or not, is waited for.
    Follow(CancellationToken),
}

/// Asks for others too. However it ends, they learn of it.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    key: CacheKey,
    ended: CancellationToken,
}

impl Flights {
    pub fn turn(self: &Arc<Self>, key: CacheKey) -> Turn {
        let mut flights = lock(&self.0);
        if let Some(ended) = flights.get(&key) {
            return Turn::Follow(ended.clone());
        }
        let ended = CancellationToken::new();
        flights.insert(key, ended.clone());
        Turn::Lead(Lead {
            flights: self.clone(),
            key,
            ended,
        })
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        lock(&self.flights.0).remove(&self.key);
        self.ended.cancel();
    }
}
