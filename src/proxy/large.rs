//! Answers too large to be held: they flow, their users are cut out on the way, and the last
//! bytes wait until what was told is committed. Of a single user that large, also in a list, only the id is
//! taken: usertap's own read of it may be larger.
//!
//! Memory stays constant: one frame, one item, one chunk of users, a few receipts.

mod relay;

use std::collections::VecDeque;
use std::io::{self, Write};

use bytes::Bytes;
use http::response::Parts;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::answering::Answering;
use super::body::Fed;
use super::exchange::Exchange;
use super::hold::{Ended, Held};
use super::outcome::{Outcome, Why};
use super::record::Stamp;
use super::traffic::Counted;
use crate::clock::{self, Instant};
use crate::config::Sync;
use crate::provider::{Item, ItemSplitter, Sighting};
use crate::record::{Receipt, Recorded};
use crate::upstream::decode::{Coding, Decoder};
use relay::Tap;

/// Users handed to the recorder at a time: large enough that a commit is shared by many.
const CHUNK: usize = 256;
/// Chunks under way before the next bytes are read.
const UNDER_WAY: usize = 4;
/// Frames on their way to the app.
const FRAMES: usize = 4;
/// Encoded bytes decoded at a time: what deflate makes of them at most is a megabyte.
const SLICE: usize = 1 << 10;
/// JSON shrinks ten- to fiftyfold; a text larger than this many times its encoded bytes is a bomb.
const UNFOLDS: usize = 200;
/// A short start may be all repetition.
const UNFOLDS_AT_FIRST: usize = 1 << 20;

impl Exchange<'_> {
    pub async fn large(&mut self, head: Parts, held: Held, ended: Ended, stamp: Stamp, app: Answering) {
        // Too much to be kept: who waits for it asks for itself.
        self.keeping = None;
        let largest = self.shared.config.record_buffer;
        let provider = &self.shared.config.provider;
        let list = provider.splitter(&self.matched, largest);
        if list.is_none() && !self.named().is_empty() {
            let outcome = self.recorded(self.named(), stamp).await;
            return app.send(self.leaves(head, held.replayed(ended), outcome));
        }
        let kind = if list.is_some() { Cut::Users } else { Cut::Id };
        let splitter = list.or_else(|| provider.id_splitter(&self.matched, self.credential));
        let (Some(splitter), Ok(coding)) = (splitter, Coding::named(&head.headers)) else {
            self.malformed(1, "its size");
            let outcome = self.unread(Why::Oversized, stamp).await;
            return app.send(self.leaves(head, held.replayed(ended), outcome));
        };
        self.shared.wire.traffic.count(Counted::Recorded);
        let (frames, fed) = mpsc::channel(FRAMES);
        app.send(self.leaves(head, Fed(fed).boxed(), Outcome::Nothing(Why::Streamed)));
        let alone = self.matched.route.writes;
        let idle = self.shared.wire.idle;
        let mut users = Users::new(self, kind, splitter, coding, stamp);
        let whole = relay::relay(held.replayed(ended), frames, &mut users, idle, alone).await;
        if whole == relay::End::Broken {
            self.left_in_doubt();
        }
    }
}

/// What is cut out of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Users,
    /// Of the one user that the answer is.
    Id,
}

/// Cuts users out of the bytes that pass and sees to their recording.
struct Users<'e> {
    exchange: &'e Exchange<'e>,
    coding: Coding,
    stamp: Stamp,
    reading: Reading<'e>,
    under_way: VecDeque<Receipt>,
    /// A commit did not come in time: nothing waits any longer.
    late: bool,
}

enum Reading<'e> {
    NotYet(Cutter<'e>),
    Decoding(Box<Decoder<Cutter<'e>>>),
    /// Ended, or given up.
    Over,
}

impl<'e> Users<'e> {
    fn new(
        exchange: &'e Exchange<'e>,
        kind: Cut,
        splitter: ItemSplitter,
        coding: Coding,
        stamp: Stamp,
    ) -> Users<'e> {
        let cutter = Cutter {
            exchange,
            kind,
            splitter,
            users: Vec::new(),
            unreadable: 0,
            may_unfold: UNFOLDS_AT_FIRST,
        };
        Users {
            exchange,
            coding,
            stamp,
            reading: Reading::NotYet(cutter),
            under_way: VecDeque::new(),
            late: exchange.shared.config.sync == Sync::Async,
        }
    }

    /// The decoder, made when the first byte says which.
    fn decoder(&mut self, first: u8) -> Option<&mut Decoder<Cutter<'e>>> {
        if matches!(self.reading, Reading::NotYet(_)) {
            let Reading::NotYet(cutter) = std::mem::replace(&mut self.reading, Reading::Over) else {
                return None;
            };
            self.reading = Reading::Decoding(Box::new(Decoder::new(self.coding, first, cutter)));
        }
        match &mut self.reading {
            Reading::Decoding(decoder) => Some(decoder),
            Reading::NotYet(_) | Reading::Over => None,
        }
    }

    /// Feeds a little and gives back the users if there are enough of them.
    fn feed(&mut self, slice: &[u8]) -> Vec<Sighting> {
        let Some(decoder) = slice.first().and_then(|first| self.decoder(*first)) else {
            return Vec::new();
        };
        decoder.sink().may_unfold += slice.len() * UNFOLDS;
        let fed = decoder.feed(slice);
        let cutter = decoder.sink();
        if fed.is_ok() && cutter.users.len() < CHUNK {
            return Vec::new();
        }
        let users = std::mem::take(&mut cutter.users);
        if fed.is_err() {
            self.give_up("its JSON");
        }
        users
    }

    fn give_up(&mut self, what: &'static str) {
        self.reading = Reading::Over;
        self.exchange.malformed(1, what);
    }

    fn submit(&mut self, users: Vec<Sighting>) {
        self.under_way.extend(self.exchange.submit(users, self.stamp));
    }

    /// Waits until at most `left` chunks are under way, not beyond `deadline`.
    async fn settle(&mut self, left: usize, deadline: Instant) {
        while self.under_way.len() > left {
            let Some(oldest) = self.under_way.pop_front() else {
                return;
            };
            if !self.late {
                let wait = deadline.saturating_duration_since(clock::now());
                self.late = !matches!(oldest.recorded(wait).await, Recorded::Committed { .. });
            }
        }
    }

    fn deadline(&self) -> Instant {
        clock::now() + self.exchange.shared.config.sync_timeout
    }

    /// The users after the last full chunk, the end of the JSON checked.
    fn rest(&mut self, whole: bool) -> Vec<Sighting> {
        let ended = match std::mem::replace(&mut self.reading, Reading::Over) {
            Reading::Over => return Vec::new(),
            Reading::NotYet(cutter) => Ok(cutter),
            Reading::Decoding(mut decoder) => {
                let users = std::mem::take(&mut decoder.sink().users);
                decoder.finish().map(|mut cutter| {
                    cutter.users.splice(0..0, users);
                    cutter
                })
            }
        };
        let Ok(cutter) = ended else {
            self.exchange.malformed(1, "its end");
            return Vec::new();
        };
        let unreadable = cutter.unreadable + u64::from(whole && !cutter.splitter.finished());
        if unreadable > 0 {
            self.exchange.malformed(unreadable, "its users");
        }
        cutter.users
    }
}

impl Tap for Users<'_> {
    async fn take(&mut self, data: &Bytes) {
        for slice in data.chunks(SLICE) {
            let users = self.feed(slice);
            self.submit(users);
            let deadline = self.deadline();
            self.settle(UNDER_WAY, deadline).await;
        }
    }

    async fn end(&mut self, whole: bool) {
        let rest = self.rest(whole);
        self.submit(rest);
        let deadline = self.deadline();
        self.settle(0, deadline).await;
    }
}

/// Takes the decoded bytes.
struct Cutter<'e> {
    exchange: &'e Exchange<'e>,
    kind: Cut,
    splitter: ItemSplitter,
    users: Vec<Sighting>,
    unreadable: u64,
    /// Decoded bytes that may still come.
    may_unfold: usize,
}

impl Write for Cutter<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.may_unfold = self
            .may_unfold
            .checked_sub(piece.len())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let Exchange {
            shared,
            matched,
            credential,
            ..
        } = self.exchange;
        let (users, unreadable) = (&mut self.users, &mut self.unreadable);
        let (provider, tenant, kind) = (&shared.config.provider, &shared.config.tenant, self.kind);
        let read = |item: Item<'_>| match (kind, item) {
            (Cut::Users, Item::Whole(json)) => provider.extract_item(tenant, matched, *credential, json),
            (Cut::Users, Item::Id(id)) => provider.extract_item_id(tenant, matched, *credential, id),
            (Cut::Id, Item::Whole(id) | Item::Id(id)) => provider.extract_id(tenant, id),
        };
        let mut item = |item: Item<'_>| match read(item) {
            Some(user) => users.push(user),
            None => *unreadable += 1,
        };
        let fed = self.splitter.feed(piece, &mut item);
        fed.map(|()| piece.len())
            .map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
