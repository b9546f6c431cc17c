//! How the history that is found stands to the one that is believed, and where a new one begins. Pure.

use uuid::Uuid;

use crate::record::sql::{Following, History};
use crate::user::Position;

/// Positions left out at least where an epoch begins: more than can have been given out behind the back
/// of whoever begins it (at ten thousand commits a second, those of five days).
pub(super) const APART: i64 = 1 << 32;
/// Positions of one millisecond since 1970. An epoch begins no earlier than at its own: it may follow one
/// that was begun, used and lost without anybody here having heard of it. Room until the year 2109:
const OF_A_MILLISECOND: i64 = 1 << 21;
/// so a clock that says more than 2100 is not heard. What it made of a position would be the last one for good.
const CLOCKS_UNTIL: i64 = 4_102_444_800_000;

/// What this process takes for committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Believed {
    /// The history it was in, and its epoch.
    pub at: Option<(Uuid, i64)>,
    pub made_at: Option<i64>,
    /// All positions up to this one.
    pub known: Position,
    /// The last change.
    pub last: Option<(Position, i32)>,
    /// The epoch in which requests are stamped.
    pub stamped_in: i64,
}

/// How the history that is found stands to what is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    Same,
    /// Another process has begun an epoch since. What this one has seen is certain up to here.
    Followed(Position),
    /// A new epoch must begin.
    Lost {
        /// Up to where the history that is found is certain to whoever was in it,
        found: Position,
        /// and what this process has seen.
        ours: Position,
    },
    /// It is of another database than the one an earlier process of this folder knew.
    Foreign,
}

/// Holds what was found against what is believed. `timeline`: of the server, where it tells.
pub fn compare(found: &History, timeline: Option<&str>, believed: &Believed) -> Compared {
    if believed.made_at.is_some_and(|made_at| made_at != found.made_at) {
        return Compared::Foreign;
    }
    // Another installation's that has fewer epochs behind it: what was stamped before would prove something there.
    if believed.at.is_none() && found.epoch < believed.stamped_in {
        return Compared::Lost {
            found: Position(found.position),
            ours: Position(0),
        };
    }
    let is_moved = matches!((timeline, found.timeline.as_deref()), (Some(now), Some(then)) if now != then);
    let is_same = believed.at.is_none_or(|(id, _)| id == found.id);
    let lacks = is_same && !found.is_ours;
    let is_older = believed
        .at
        .is_some_and(|(id, epoch)| id != found.id && found.epoch <= epoch);
    // Where the counter is past what is known and yet the last change is not there, others went on
    // from nobody knows where.
    let shared = match lacks && found.position >= believed.known.0 {
        true => Position(0),
        false => Position(found.position),
    };
    let ours = match is_same {
        true => shared,
        false => shared.min(Position(found.certain.unwrap_or(0))),
    };
    match (is_moved || is_older || lacks, is_same) {
        (true, _) => Compared::Lost { found: shared, ours },
        (false, true) => Compared::Same,
        (false, false) => Compared::Followed(ours),
    }
}

/// The last position that is left out where an epoch begins now.
pub fn apart(found: Position, known: Position, now_millis: i64) -> Position {
    let by_clock = match now_millis {
        ..CLOCKS_UNTIL => now_millis.saturating_mul(OF_A_MILLISECOND),
        _ => 0,
    };
    Position(found.max(known).0.saturating_add(APART).max(by_clock))
}

/// The epoch that must follow what was found.
pub fn following<'a>(
    found: &'a History,
    believed: &Believed,
    certain: Position,
    timeline: Option<&'a str>,
    now_millis: i64,
) -> Following<'a> {
    Following {
        found,
        behind_epoch: believed.at.map_or(believed.stamped_in, |(_, epoch)| epoch),
        from: apart(Position(found.position), believed.known, now_millis),
        certain,
        timeline,
    }
}
