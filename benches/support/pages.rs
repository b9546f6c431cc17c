//! Pages as a backfill hands them to the recorder.

use std::sync::Arc;

use usertap::config::Config;
use usertap::provider::Sighting;
use usertap::user::{Observation, Origin, Sent, Source};

use super::listing::read;

/// What a page tells, as a backfill would hand it over.
pub fn observations(config: &Config, body: &[u8]) -> Vec<Observation> {
    let source = Arc::new(Source {
        origin: Origin::Backfill,
        route: "list users".into(),
        request_id: "bench".into(),
    });
    let sightings = read(config, body).sightings.into_iter();
    let observe = |sighting: Sighting| Observation {
        id: sighting.id,
        seen: sighting.seen,
        sent: Sent::NEVER,
        source: source.clone(),
        unsettled: false,
    };
    sightings.map(observe).collect()
}
