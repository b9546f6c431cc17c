//! One request at a time for each answer: who comes while it is under way waits for it. Where it takes long,
//! one of them may ask beside it, and the others wait for whichever brings the answer first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::key::CacheKey;
use super::lock;

/// One that may hang, and one that shows whether it does.
const LEADS: u8 = 2;

/// As many at most as there are requests under way.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<CacheKey, Flight>>);

/// Those who ask for one answer.
#[derive(Debug)]
struct Flight {
    leads: u8,
    /// Told when one of several ends, gone with the last.
    ended: watch::Sender<()>,
}

/// Whose turn it is to ask.
#[derive(Debug)]
pub enum Turn {
    Lead(Lead),
    /// Another asks; its end, well or not, is waited for.
    Follow(Follow),
}

/// Asks for others too. However it ends, they learn of it.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    key: CacheKey,
}

/// Waits for those who ask.
#[derive(Debug)]
pub struct Follow {
    flights: Arc<Flights>,
    key: CacheKey,
    ended: watch::Receiver<()>,
}

/// Who still asks after one has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Another,
    Nobody,
}

impl Flights {
    pub fn turn(self: &Arc<Self>, key: CacheKey) -> Turn {
        let mut flights = lock(&self.0);
        if let Some(flight) = flights.get(&key) {
            return Turn::Follow(Follow {
                flights: self.clone(),
                key,
                ended: flight.ended.subscribe(),
            });
        }
        let ended = watch::Sender::new(());
        flights.insert(key, Flight { leads: 1, ended });
        Turn::Lead(Lead {
            flights: self.clone(),
            key,
        })
    }

    /// Whether anybody waits for those who ask. Who asks beside the first follows it too, and is none of them.
    pub fn are_followed(&self, key: CacheKey) -> bool {
        let flights = lock(&self.0);
        let waits = |flight: &Flight| flight.ended.receiver_count() >= usize::from(flight.leads.max(1));
        flights.get(&key).is_some_and(waits)
    }
}

impl Follow {
    /// Resolves when one of those who ask has ended.
    pub async fn ended(&mut self) -> Left {
        match self.ended.changed().await {
            Ok(()) => Left::Another,
            Err(_) => Left::Nobody,
        }
    }

    /// Asks beside the one that takes long, unless somebody does, or one has ended: who is left then may have
    /// begun just now.
    pub fn lead_too(&self) -> Option<Lead> {
        let mut flights = lock(&self.flights.0);
        let none_ended = self.ended.has_changed().is_ok_and(|ended| !ended);
        let flight = flights
            .get_mut(&self.key)
            .filter(|flight| none_ended && flight.leads < LEADS)?;
        flight.leads += 1;
        Some(Lead {
            flights: self.flights.clone(),
            key: self.key,
        })
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut flights = lock(&self.flights.0);
        let Some(flight) = flights.get_mut(&self.key) else {
            return;
        };
        flight.leads -= 1;
        match flight.leads {
            0 => drop(flights.remove(&self.key)),
            _ => flight.ended.send_replace(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::super::key::CacheKey;
    use super::*;

    fn leads(flights: &Arc<Flights>) -> Lead {
        match flights.turn(CacheKey::of_nobody(1)) {
            Turn::Lead(lead) => lead,
            Turn::Follow(_) => panic!("somebody leads"),
        }
    }

    fn follows(flights: &Arc<Flights>) -> Follow {
        match flights.turn(CacheKey::of_nobody(1)) {
            Turn::Lead(_) => panic!("nobody leads"),
            Turn::Follow(follow) => follow,
        }
    }

    #[test]
    fn one_more_asks_beside_the_first_and_either_end_is_told() {
        let flights = Arc::default();
        let first = leads(&flights);
        let (mut early, second) = (follows(&flights), follows(&flights).lead_too());
        let mut late = follows(&flights);
        assert!(
            flights.are_followed(CacheKey::of_nobody(1)) && !flights.are_followed(CacheKey::of_nobody(2))
        );
        assert!(second.is_some() && early.lead_too().is_none());
        assert_eq!(early.ended().now_or_never(), None);
        drop(first);
        assert!(late.lead_too().is_none(), "it is told of the end first");
        for follow in [&mut early, &mut late] {
            assert_eq!(follow.ended().now_or_never(), Some(Left::Another));
            assert_eq!(follow.ended().now_or_never(), None);
        }
        let third = late.lead_too();
        assert!(third.is_some() && early.lead_too().is_none());
        drop((second, third));
        assert_eq!(early.ended().now_or_never(), Some(Left::Another));
        assert_eq!(early.ended().now_or_never(), Some(Left::Nobody));
        assert!(early.lead_too().is_none(), "there is nobody to ask beside");
        drop(leads(&flights));
    }

    #[test]
    fn whoever_asks_beside_another_is_nobody_who_waits() {
        let (flights, key) = (Arc::default(), CacheKey::of_nobody(1));
        let _first = leads(&flights);
        assert!(!flights.are_followed(key));
        let beside = follows(&flights);
        assert!(flights.are_followed(key));
        let _second = beside.lead_too().expect("nobody else does");
        assert!(!flights.are_followed(key));
        let _waits = follows(&flights);
        assert!(flights.are_followed(key));
    }
}
