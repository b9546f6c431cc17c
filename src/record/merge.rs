//! Who wins: the one place that says it.
//!
//! [`judge`] holds one observation against what is known of its user, by the order rule: equal
//! counts as applied; an observation sent after the last change applies; a trusted version
//! decides between two that are not deleted; everything else is left out and read again. Pure:
//! the property test runs the same judgements through Postgres.
//!
//! What must never be: an older observation over a newer one; a deleted user raised by anything
//! that was sent before the deletion was known; a field erased by a view that does not show it.

use serde_json::Value;

use crate::user::{ContentHash, Position, Seen, Sent, Tick};

/// What stands in the table for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No row.
    None,
    /// A row with nothing but the id.
    Skeleton,
    Present(ContentHash),
    /// A row with `deleted_at`.
    Deleted,
    /// Deleted, and the row is gone.
    Purged,
}

impl Standing {
    pub fn is_deleted(self) -> bool {
        matches!(self, Standing::Deleted | Standing::Purged)
    }

    pub fn has_row(self) -> bool {
        matches!(
            self,
            Standing::Skeleton | Standing::Present(_) | Standing::Deleted
        )
    }
}

/// What is known of a user, under its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Of the last change; before everything for a user without a state, as tombstones are kept for ever.
    pub position: Position,
    /// When this process last judged an observation equal.
    pub mark: Tick,
    pub standing: Standing,
    pub version: Option<i64>,
    /// A read sent after this is owed.
    pub doubt: Option<Position>,
}

/// What is to become of one observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The row says the same already.
    Equal,
    /// There is no such user, and no row of one: the same as [`Verdict::Equal`], but nothing stands.
    Absent,
    /// It becomes the row.
    Apply,
    /// The row is newer, by a version that can be trusted.
    Older,
    /// Nobody can tell which is newer: left out, a read is owed.
    Ambiguous,
    /// A hint that needs a read.
    Doubt,
    /// A hint that needs none.
    Idle,
    /// A row with only the id is made, so that foreign keys hold.
    Stand,
}

/// Whether an observation counts as applied now.
impl Verdict {
    pub fn counts_as_applied(self) -> bool {
        matches!(self, Verdict::Equal | Verdict::Absent | Verdict::Apply)
    }

    pub fn raises_doubt(self) -> bool {
        matches!(self, Verdict::Ambiguous | Verdict::Doubt)
    }
}

/// Judges one observation. `agrees` says of a partial view whether the row shows the same.
pub fn judge(
    known: &Known,
    epoch: i64,
    seen: &Seen,
    sent: Sent,
    agrees: impl FnOnce(&Value) -> bool,
) -> Verdict {
    match seen {
        Seen::Whole(view) => whole(known, view.content, view.version, since(sent, epoch)),
        Seen::Deleted => deletion(known, known.standing.is_deleted(), since(sent, epoch)),
        Seen::Missing if known.standing == Standing::None => Verdict::Absent,
        Seen::Missing => deletion(known, known.standing.is_deleted(), since(sent, epoch)),
        Seen::Partial(value) => partial(known, || agrees(value)),
        Seen::Touched => Verdict::Doubt,
        Seen::Mentioned => mentioned(known.standing),
        Seen::Awaited if known.standing == Standing::None => Verdict::Stand,
        Seen::Awaited => Verdict::Idle,
    }
}

/// Whether an observation that counts as applied settles the doubt.
pub fn settles(doubt: Option<Position>, epoch: i64, sent: Sent) -> bool {
    doubt.is_some_and(|doubt| doubt <= since(sent, epoch).position)
}

/// The version of a row that an observation with this one was equal to. Where one of them has
/// none, nobody can say any more which version it is that the row shows.
pub fn version_of_equals(row: Option<i64>, seen: Option<i64>) -> Option<i64> {
    Some(row?.max(seen?))
}

/// What was sent in another epoch was sent before everything.
fn since(sent: Sent, epoch: i64) -> Sent {
    if sent.epoch == epoch {
        return sent;
    }
    Sent {
        position: sent.position.min(Sent::NEVER.position),
        ..Sent::NEVER
    }
}

fn whole(known: &Known, content: ContentHash, version: Option<i64>, sent: Sent) -> Verdict {
    if known.standing == Standing::Present(content) {
        return Verdict::Equal;
    }
    if sent_after(known, sent) {
        return Verdict::Apply;
    }
    match (known.standing, known.version, version) {
        (Standing::Present(_), Some(ours), Some(theirs)) if theirs > ours => Verdict::Apply,
        (Standing::Present(_), Some(ours), Some(theirs)) if theirs < ours => Verdict::Older,
        _ => Verdict::Ambiguous,
    }
}

fn deletion(known: &Known, gone: bool, sent: Sent) -> Verdict {
    match gone {
        true => Verdict::Equal,
        false if sent_after(known, sent) => Verdict::Apply,
        false => Verdict::Ambiguous,
    }
}

fn partial(known: &Known, agrees: impl FnOnce() -> bool) -> Verdict {
    let present = matches!(known.standing, Standing::Present(_));
    if present && agrees() {
        Verdict::Idle
    } else {
        Verdict::Doubt
    }
}

fn mentioned(standing: Standing) -> Verdict {
    match standing {
        Standing::Present(_) => Verdict::Idle,
        _ => Verdict::Doubt,
    }
}

/// Whether the question was asked after everything that is known was known.
fn sent_after(known: &Known, sent: Sent) -> bool {
    known.position <= sent.position && known.mark <= sent.tick
}

/// Whether `whole` shows everything that `part` shows, to any depth. A list must have the same
/// length; an object may have more fields.
pub fn shows(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, value)| whole.get(name).is_some_and(|there| shows(there, value))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(there, value)| shows(there, value))
        }
        _ => whole == part,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::user::{Profile, View};
    use serde_json::json;

    const EPOCH: i64 = 3;

    fn sent(position: i64, tick: u64) -> Sent {
        Sent {
            epoch: EPOCH,
            position: Position(position),
            tick: Tick(tick),
        }
    }

    fn known(standing: Standing) -> Known {
        Known {
            position: Position(10),
            mark: Tick(0),
            standing,
            version: None,
            doubt: None,
        }
    }

    fn view(content: u8, version: Option<i64>) -> Seen {
        Seen::Whole(Arc::new(View {
            raw: "{}".into(),
            profile: Profile::default(),
            content: ContentHash([content; 16]),
            volatile: ContentHash([0; 16]),
            version,
        }))
    }

    fn verdict(known: &Known, seen: &Seen, sent: Sent) -> Verdict {
        judge(known, EPOCH, seen, sent, |_| true)
    }

    const A: Standing = Standing::Present(ContentHash([1; 16]));

    #[test]
    fn equal_counts_however_old_the_question() {
        assert_eq!(verdict(&known(A), &view(1, None), Sent::NEVER), Verdict::Equal);
        assert_eq!(
            verdict(&known(Standing::Deleted), &Seen::Missing, Sent::NEVER),
            Verdict::Equal
        );
        assert_eq!(
            verdict(&known(Standing::None), &Seen::Missing, Sent::NEVER),
            Verdict::Absent
        );
    }

    #[test]
    fn what_was_sent_after_the_last_change_applies() {
        for seen in [view(2, None), Seen::Deleted, Seen::Missing] {
            assert_eq!(verdict(&known(A), &seen, sent(10, 0)), Verdict::Apply);
            assert_eq!(verdict(&known(A), &seen, sent(9, 0)), Verdict::Ambiguous);
        }
        assert_eq!(
            verdict(&known(Standing::Deleted), &view(2, None), sent(10, 0)),
            Verdict::Apply
        );
    }

    #[test]
    fn an_equal_answer_in_between_makes_an_older_question_ambiguous() {
        let marked = Known {
            mark: Tick(5),
            ..known(A)
        };
        assert_eq!(verdict(&marked, &view(2, None), sent(10, 4)), Verdict::Ambiguous);
        assert_eq!(verdict(&marked, &view(2, None), sent(10, 5)), Verdict::Apply);
    }

    #[test]
    fn another_epoch_proves_nothing() {
        let other = Sent {
            epoch: EPOCH - 1,
            ..sent(99, 99)
        };
        assert_eq!(verdict(&known(A), &view(2, None), other), Verdict::Ambiguous);
        let unknown = Known {
            position: Position(0),
            ..known(Standing::None)
        };
        assert_eq!(verdict(&unknown, &view(2, None), other), Verdict::Apply);
    }

    #[test]
    fn versions_decide_only_between_two_that_live() {
        let versioned = Known {
            version: Some(7),
            ..known(A)
        };
        assert_eq!(verdict(&versioned, &view(2, Some(8)), sent(1, 0)), Verdict::Apply);
        assert_eq!(verdict(&versioned, &view(2, Some(6)), sent(1, 0)), Verdict::Older);
        assert_eq!(
            verdict(&versioned, &view(2, Some(7)), sent(1, 0)),
            Verdict::Ambiguous
        );
        assert_eq!(
            verdict(&versioned, &view(2, Some(6)), sent(10, 0)),
            Verdict::Apply
        );
        let tombstone = Known {
            version: Some(7),
            ..known(Standing::Deleted)
        };
        assert_eq!(
            verdict(&tombstone, &view(2, Some(8)), sent(1, 0)),
            Verdict::Ambiguous
        );
    }

    #[test]
    fn hints_never_write() {
        assert_eq!(verdict(&known(A), &Seen::Touched, sent(10, 0)), Verdict::Doubt);
        assert_eq!(verdict(&known(A), &Seen::Mentioned, sent(10, 0)), Verdict::Idle);
        assert_eq!(
            verdict(&known(Standing::None), &Seen::Mentioned, sent(10, 0)),
            Verdict::Doubt
        );
        let partial = Seen::Partial(Box::new(json!({})));
        assert_eq!(
            judge(&known(A), EPOCH, &partial, sent(10, 0), |_| false),
            Verdict::Doubt
        );
        assert_eq!(
            judge(&known(A), EPOCH, &partial, sent(10, 0), |_| true),
            Verdict::Idle
        );
        assert_eq!(
            verdict(&known(Standing::None), &Seen::Awaited, sent(0, 0)),
            Verdict::Stand
        );
        assert_eq!(
            verdict(&known(Standing::Deleted), &Seen::Awaited, sent(0, 0)),
            Verdict::Idle
        );
    }

    #[test]
    fn only_what_was_sent_after_it_settles_a_doubt() {
        assert!(!settles(Some(Position(12)), EPOCH, sent(11, 0)));
        assert!(settles(Some(Position(12)), EPOCH, sent(12, 0)));
        assert!(!settles(None, EPOCH, sent(12, 0)));
        assert!(!settles(Some(Position(12)), EPOCH + 1, sent(12, 0)));
    }

    #[test]
    fn a_part_agrees_when_the_whole_shows_it() {
        let whole = json!({"a": 1, "team": {"id": 1, "secret": 2}, "list": [{"x": 1, "y": 2}]});
        assert!(shows(&whole, &json!({"team": {"id": 1}, "list": [{"x": 1}]})));
        assert!(!shows(&whole, &json!({"team": {"id": 2}})));
        assert!(!shows(&whole, &json!({"b": null})));
        assert!(!shows(&whole, &json!({"list": []})));
    }
}
