//! What became of an exchange in the tables, in the words of `x-usertap-recorded`. The same words
//! stand in the log.

use std::borrow::Cow;

use http::{HeaderValue, StatusCode};

use super::upgrade;
use crate::provider::Foreign;
use crate::record::Recorded;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Recorded(Recorded),
    /// Handed over; nobody waits (`SYNC=async`).
    NotAwaited,
    Nothing(Why),
}

/// Why an exchange is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// On no route of the provider's file.
    Unmatched,
    Foreign(Foreign),
    /// Its answer tells of no user.
    NoUser,
    /// Its answer cannot be read.
    Malformed,
    /// Its answer is a part of one.
    Part,
    /// Its answer is too large to be held and not a list.
    Oversized,
    /// Its request is too large to be judged.
    RequestOversized,
    /// Recorded while it flows, which the head cannot wait for.
    Streamed,
    /// The answer broke off.
    Truncated,
    Upgrade,
    /// usertap's own answer.
    Own,
}

impl Outcome {
    /// As in the header.
    pub fn words(&self) -> Cow<'static, str> {
        match self {
            Outcome::Recorded(Recorded::Committed {
                position: Some(position),
            }) => format!("committed; pos={}", position).into(),
            Outcome::Recorded(Recorded::Committed { position: None }) => "committed; unchanged".into(),
            other => {
                let (word, reason) = other.word_and_reason();
                format!("{word}; {reason}").into()
            }
        }
    }

    /// As the metrics count it: no position stands in it.
    pub fn word_and_reason(&self) -> (&'static str, &'static str) {
        match self {
            Outcome::Recorded(Recorded::Committed { position: Some(_) }) => ("committed", "changed"),
            Outcome::Recorded(Recorded::Committed { position: None }) => ("committed", "unchanged"),
            Outcome::Recorded(Recorded::Journaled) => ("journaled", "database-away"),
            Outcome::Recorded(Recorded::Queued) => ("queued", "database-away"),
            Outcome::Recorded(Recorded::None(why)) => ("none", why.as_str()),
            Outcome::NotAwaited => ("queued", "async"),
            Outcome::Nothing(why) => ("none", why.word()),
        }
    }

    /// What a write came to is not in the rows, and no change is on its way that says so.
    pub fn is_owed(&self) -> bool {
        match self {
            Outcome::Recorded(recorded) => !matches!(recorded, Recorded::Committed { .. }),
            Outcome::Nothing(why) => matches!(why, Why::Malformed | Why::Part | Why::Oversized),
            Outcome::NotAwaited => false,
        }
    }

    pub fn header(&self) -> HeaderValue {
        match self.words() {
            Cow::Borrowed(words) => HeaderValue::from_static(words),
            Cow::Owned(words) => HeaderValue::try_from(words).unwrap_or(HeaderValue::from_static("none")),
        }
    }
}

impl Why {
    /// What a tunnel carries is nobody's business.
    pub fn unless_upgraded(self, status: StatusCode) -> Why {
        if upgrade::is_agreed(status) {
            Why::Upgrade
        } else {
            self
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Why::Unmatched => "unmatched",
            Why::Foreign(_) => "foreign-tenant",
            Why::NoUser => "no-user",
            Why::Malformed => "malformed",
            Why::Part => "part",
            Why::Oversized => "oversized",
            Why::RequestOversized => "request-oversized",
            Why::Streamed => "streamed",
            Why::Truncated => "truncated",
            Why::Upgrade => "upgrade",
            Why::Own => "own-answer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Unrecorded;

    #[test]
    fn the_words_are_those_of_the_interface() {
        let committed = |position| Outcome::Recorded(Recorded::Committed { position });
        for (outcome, words) in [
            (committed(Some("42".into())), "committed; pos=42"),
            (committed(None), "committed; unchanged"),
            (Outcome::Recorded(Recorded::Queued), "queued; database-away"),
            (
                Outcome::Recorded(Recorded::None(Unrecorded::SetAside)),
                "none; set-aside",
            ),
            (
                Outcome::Recorded(Recorded::None(Unrecorded::RereadLate)),
                "none; reread-late",
            ),
            (
                Outcome::Nothing(Why::Foreign(Foreign::Tenant)),
                "none; foreign-tenant",
            ),
            (Outcome::Nothing(Why::NoUser), "none; no-user"),
        ] {
            assert_eq!(outcome.header(), words);
        }
    }
}
