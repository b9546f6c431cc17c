//! What kind of storm it is, by its seed.

use super::dice::Dice;

#[derive(Debug, Clone, Copy)]
pub struct Climate {
    pub ground: Ground,
    /// What becomes of deleted users' rows.
    pub deleted: Deleted,
    /// Nobody waits for a commit.
    pub is_async: bool,
    /// Lists are too large to be collected.
    pub streams: bool,
    /// Where there is a standby, it is named beside the primary.
    pub names_both: bool,
    /// A pooler of sessions stands before the database, and is restarted.
    pub is_pooled: bool,
    /// A process starts before the one that it takes the place of is told to stop.
    pub rolls: bool,
    /// Every process has another tenant.
    pub has_neighbour: bool,
    /// Requests a second that the provider takes, where it has a limit.
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    Stay,
    Go,
    GoLater,
}

impl Deleted {
    pub fn setting(self) -> &'static str {
        match self {
            Deleted::Stay => "keep",
            Deleted::Go => "purge",
            Deleted::GoLater => "purge-after=2s",
        }
    }
}

/// Where the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Beside those of other tests: it stays up.
    Shared,
    /// On a server of its own, which is stopped in haste, and killed.
    Own,
    /// The same, with a standby that has all that is committed and takes over.
    Pair,
}

impl Climate {
    /// A short one has no servers to start, and no processes that take longer to.
    pub fn of(seed: u64, is_short: bool) -> Climate {
        let mut dice = Dice::new(seed.wrapping_mul(7_919));
        let mut one_in = |many: u64| dice.below(many) == 0;
        let mut climate = Climate {
            names_both: false,
            rolls: one_in(2),
            limit: one_in(3).then_some(600),
            is_pooled: one_in(2),
            has_neighbour: one_in(3),
            is_async: dice.below(6) == 0,
            streams: dice.below(4) == 0,
            deleted: [Deleted::Go, Deleted::Stay, Deleted::GoLater][dice.below(3) as usize],
            ground: [Ground::Shared, Ground::Own, Ground::Pair][dice.below(3) as usize],
        };
        climate.names_both = climate.ground == Ground::Pair && !climate.is_pooled && dice.below(2) == 0;
        match is_short {
            true => Climate {
                is_pooled: false,
                names_both: false,
                has_neighbour: false,
                ground: Ground::Shared,
                ..climate
            },
            false => climate,
        }
    }
}
