//! Users at the provider: each with a real past.

use std::sync::Arc;

use chrono::DateTime;
use serde_json::json;
use tokio::time::Instant;

use super::dice::Dice;
use crate::user::{ContentHash, IdType, Profile, Seen, UserId, View};

pub const USERS: usize = 2;

/// What a user was from some time on; `None` where there was none.
#[derive(Debug, Clone, Copy)]
struct Moment {
    content: Option<u8>,
    since: Instant,
}

/// Everything that users ever were.
pub struct Provider {
    lives: Vec<Vec<Moment>>,
    /// What users can be: few, so that lives go back to what they were.
    pub contents: u8,
    /// It gives versions that can be trusted.
    pub versioned: bool,
}

impl Provider {
    pub fn new(dice: &mut Dice, now: Instant) -> Provider {
        let contents = 2 + u8::from(dice.one_in(2));
        let mut provider = Provider {
            lives: Vec::new(),
            contents,
            versioned: dice.one_in(2),
        };
        for _ in 0..USERS {
            let content = provider.any(dice);
            provider.lives.push(vec![Moment { content, since: now }]);
        }
        provider
    }

    /// Nobody is there yet, and there are no versions.
    pub fn without_anybody(&mut self, now: Instant) {
        let nobody = Moment {
            content: None,
            since: now,
        };
        self.lives = vec![vec![nobody]; USERS];
        self.versioned = false;
    }

    /// What a user can be; or no user at all.
    pub fn any(&self, dice: &mut Dice) -> Option<u8> {
        let content = dice.below(usize::from(self.contents) + 1);
        u8::try_from(content).ok().filter(|content| *content > 0)
    }

    pub fn content(&self, user: usize, moment: usize) -> Option<u8> {
        self.lives[user][moment].content
    }

    pub fn latest(&self, user: usize) -> usize {
        self.lives[user].len() - 1
    }

    pub fn exists(&self, user: usize) -> bool {
        self.content(user, self.latest(user)).is_some()
    }

    pub fn becomes(&mut self, user: usize, content: Option<u8>, now: Instant) -> usize {
        self.lives[user].push(Moment { content, since: now });
        self.latest(user)
    }

    /// A moment that an answer may show which is never older than `since`.
    pub fn moment_since(&self, user: usize, since: Instant, dice: &mut Dice) -> usize {
        let life = &self.lives[user];
        let then = life.iter().rposition(|moment| moment.since <= since).unwrap_or(0);
        then + dice.below(life.len() - then)
    }

    /// Whether the user was this at some moment from `first` on.
    pub fn was(&self, user: usize, content: Option<u8>, first: usize) -> bool {
        self.lives[user][first..]
            .iter()
            .any(|moment| moment.content == content)
    }

    /// The user as a read with the server's key shows it.
    pub fn whole(&self, user: usize, moment: usize, dice: &mut Dice) -> Option<Seen> {
        let content = self.content(user, moment)?;
        let version = i64::try_from(moment).ok();
        Some(Seen::Whole(Arc::new(View {
            raw: raw(content).into(),
            profile: Profile {
                created_at: Some(DateTime::UNIX_EPOCH),
                ..Profile::default()
            },
            content: hash(content),
            volatile: ContentHash([0; 16]),
            version: version.filter(|_| self.versioned && !dice.one_in(4)),
        })))
    }

    /// The user as a browser sees it.
    pub fn partial(&self, user: usize, moment: usize) -> Option<Seen> {
        let content = self.content(user, moment)?;
        Some(Seen::Partial(Box::new(json!({ "content": content }))))
    }
}

pub fn raw(content: u8) -> String {
    format!("{{\"content\":{content}}}")
}

pub fn hash(content: u8) -> ContentHash {
    ContentHash([content; 16])
}

pub fn id(user: usize) -> UserId {
    UserId::parse(["0", "1", "2", "3"][user], IdType::Text).unwrap()
}

pub fn number(id: &UserId) -> usize {
    usize::from(id.as_str().as_bytes()[0] - b'0')
}
