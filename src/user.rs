//! The vocabulary: what usertap can know of a user, and when it came to know it.
//!
//! Whatever produces knowledge of a user (a proxied answer, a backfill page, a re-read) makes
//! [`Observation`]s; the one recorder takes them. Nothing here does IO, reads a clock or knows
//! of HTTP, SQL or a provider.
//!
//! What must never be: an [`Observation`] whose [`Sent`] was taken later than the first byte of
//! the attempt that was answered.

mod head;
mod id;
pub mod json;
mod observation;
mod pos;
pub mod time;
mod view;

pub use head::{Head, Position, Sent, Tick};
pub use id::{IdType, UserId, on_one_line};
pub use observation::{Observation, Origin, Seen, Source};
pub use pos::Pos;
pub use view::{ContentHash, Profile, View};
