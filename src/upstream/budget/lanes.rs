//! Whose turn it is among those who wait.

use super::Ask;
use crate::provider::Use;

/// Four priorities, each with its reads and its writes.
pub(super) const LANES: usize = 8;
/// After so many turns of others a waiting lane goes first once.
const PATIENCE: u32 = 19;

#[derive(Debug, Default)]
pub(super) struct Lanes {
    heads: [Option<Ask>; LANES],
    passed_over: [u32; LANES],
}

/// Where a request waits. Reads and writes stand apart only where the provider counts them apart:
/// otherwise first come is first served.
pub(super) fn lane(ask: Ask, apart: bool) -> usize {
    ask.priority as usize * 2 + usize::from(apart && ask.what == Use::Write)
}

impl Lanes {
    pub fn set(&mut self, place: usize, head: Option<Ask>) {
        if let Some(lane) = self.heads.get_mut(place) {
            *lane = head;
        }
    }

    /// The lane whose turn it is among those whose heads contend: the highest, unless a lower one
    /// was passed over too often. Reads and writes of one priority take turns.
    pub fn first(&self, contends: impl Fn(Ask) -> bool) -> Option<usize> {
        let waiting = self.heads.map(|head| head.is_some_and(&contends));
        first(waiting, self.passed_over)
    }

    pub fn went(&mut self, place: usize) {
        for (lane, (passed_over, head)) in self.passed_over.iter_mut().zip(self.heads).enumerate() {
            *passed_over = match lane == place || head.is_none() {
                true => 0,
                false => *passed_over + 1,
            };
        }
    }
}

fn first(waiting: [bool; LANES], passed_over: [u32; LANES]) -> Option<usize> {
    let all = waiting.iter().zip(passed_over).enumerate();
    let lanes: Vec<(usize, u32)> = all
        .filter(|(_, (waits, _))| **waits)
        .map(|(lane, (_, over))| (lane, over))
        .collect();
    let overdue = lanes.iter().find(|(_, over)| *over >= PATIENCE);
    let highest = lanes.first()?.0 / 2;
    let of_highest = lanes.iter().filter(|(lane, _)| lane / 2 == highest);
    // The first of those that were passed over as often.
    let turn = of_highest.rev().max_by_key(|(_, over)| *over);
    overdue.or(turn).map(|(lane, _)| *lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(usize, u32)]) -> Option<usize> {
        let (mut waiting, mut over) = ([false; LANES], [0; LANES]);
        for (lane, passed_over) in pairs {
            waiting[*lane] = true;
            over[*lane] = *passed_over;
        }
        first(waiting, over)
    }

    #[test]
    fn the_highest_lane_goes_first_until_a_lower_one_is_overdue() {
        assert_eq!(of(&[(0, 0), (4, 5), (6, 18)]), Some(0));
        assert_eq!(of(&[(0, 0), (4, 5), (6, 19)]), Some(6));
        assert_eq!(of(&[(4, 0), (6, 3)]), Some(4));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn reads_and_writes_of_one_priority_take_turns() {
        assert_eq!(of(&[(0, 0), (1, 0)]), Some(0));
        assert_eq!(of(&[(0, 0), (1, 1)]), Some(1));
        assert_eq!(of(&[(0, 1), (1, 0), (6, 3)]), Some(0));
    }
}
