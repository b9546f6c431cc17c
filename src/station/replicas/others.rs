//! Since when nobody is gone who was there.
//!
//! What must never be: one who is gone taken for there still, because another has come.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::clock::Instant;
use crate::db::instances::Heard;

/// Who else was there at the last heartbeat, and since when none of those is gone: what they had since then
/// of the provider's limit they leave only once it no longer counts for them.
#[derive(Debug, Default)]
pub(super) struct Others {
    ids: BTreeSet<Uuid>,
    since: Option<Instant>,
}

impl Others {
    pub fn hear(&mut self, heard: &Heard, now: Instant) -> Instant {
        let ids: BTreeSet<Uuid> = heard.others.iter().map(|other| other.id).collect();
        let are_there = ids.is_superset(&self.ids) && !heard.is_new && heard.silence.is_none();
        self.ids = ids;
        if !are_there {
            self.since = None;
        }
        *self.since.get_or_insert(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::db::instances::Other;

    fn heard(others: &[u128]) -> Heard {
        let other = |id: &u128| Other {
            id: Uuid::from_u128(*id),
            serves: true,
            share: 0.25,
            apps: 0.0,
            own: 0.0,
            everyone_yields: None,
            own_yields: None,
            has_met_us: true,
        };
        Heard {
            apps: 0.0,
            own: 0.0,
            others: others.iter().map(other).collect(),
            is_new: false,
            leased: 0.0,
            silence: None,
            recorder: None,
        }
    }

    #[test]
    fn whoever_is_gone_is_missed_and_whoever_comes_is_not() {
        let began = clock::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut others = Others::default();
        assert_eq!(others.hear(&heard(&[1, 2]), at(1)), at(1));
        assert_eq!(others.hear(&heard(&[1, 2, 3]), at(2)), at(1));
        // As many, and not the same.
        assert_eq!(others.hear(&heard(&[1, 3, 4]), at(3)), at(3));
        assert_eq!(others.hear(&heard(&[4, 3, 1]), at(4)), at(3));
        // This process itself was not there to see it.
        let (is_new, silence) = (true, Some(Duration::from_secs(9)));
        let new = Heard {
            is_new,
            ..heard(&[1, 3, 4])
        };
        assert_eq!(others.hear(&new, at(5)), at(5));
        let silent = Heard {
            silence,
            ..heard(&[1, 3, 4])
        };
        assert_eq!(others.hear(&silent, at(6)), at(6));
        assert_eq!(others.hear(&heard(&[]), at(7)), at(7));
    }
}
