//! Who is signed in: a random value in a cookie that scripts cannot read, never the token itself.
//!
//! Sessions live in memory alone: a restart ends them all. The proof that a form came from one of the
//! console's own pages is made from the same value, under a key of this process. A browser that is not
//! signed in has a cookie of another name: behind a link from another site it does not send the session's,
//! and what it is given there must never take the session's place.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::{self, Instant};
use crate::random;

/// A session that nobody used for so long is over.
const IDLE: Duration = Duration::from_secs(12 * 3_600);
/// More browsers than an operator has; the one unused longest goes first.
const MOST: usize = 100;

/// The value in a browser's cookie. Shown to nobody but that browser.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(String);

/// Every session there is.
#[derive(Debug)]
pub struct Sessions {
    /// Names with the port, for browsers do not tell cookies of one host's ports apart.
    session: String,
    visitor: String,
    key: [u8; 64],
    /// By the hash of its value: when it was used last.
    open: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Value {
    fn new() -> Value {
        Value(random::text())
    }

    /// Only what [`Value::new`] makes.
    fn parse(text: &str) -> Option<Value> {
        let fits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Value(text.to_owned()))
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Value")
    }
}

impl Sessions {
    pub fn new(port: u16) -> Sessions {
        Sessions {
            session: format!("usertap_{port}"),
            visitor: format!("usertap_{port}_visitor"),
            key: random::key(),
            open: Mutex::default(),
        }
    }

    /// A value for a browser that has none.
    pub fn begin(&self) -> Value {
        Value::new()
    }

    /// The session that a `Cookie` header shows, if it is still open; then it is used now.
    pub fn session(&self, cookies: &str) -> Option<Value> {
        value(cookies, &self.session).filter(|value| self.is_open(value))
    }

    /// The value of a browser that is not signed in.
    pub fn visitor(&self, cookies: &str) -> Option<Value> {
        value(cookies, &self.visitor)
    }

    /// The `Set-Cookie` header that signs a browser in. No other site's page makes it send this one.
    pub fn set_session(&self, value: &Value, secure: bool) -> String {
        set(&self.session, value, "Strict", secure)
    }

    /// The one that makes it known. It comes along behind links from other sites, else each of them
    /// would end the proof of the pages that are open.
    pub fn set_visitor(&self, value: &Value, secure: bool) -> String {
        set(&self.visitor, value, "Lax", secure)
    }

    /// Signs in: under a new value, so that nobody who knew the old one comes along.
    pub fn open(&self) -> Value {
        let value = Value::new();
        let mut open = self.sessions();
        open.retain(|_, used| used.elapsed() < IDLE);
        let oldest = open.iter().min_by_key(|(_, used)| **used).map(|(name, _)| *name);
        if let Some(oldest) = oldest.filter(|_| open.len() >= MOST) {
            open.remove(&oldest);
        }
        open.insert(hash(&value), clock::now());
        value
    }

    pub fn close(&self, value: &Value) {
        self.sessions().remove(&hash(value));
    }

    fn is_open(&self, value: &Value) -> bool {
        let mut open = self.sessions();
        match open.get_mut(&hash(value)) {
            Some(used) if used.elapsed() < IDLE => {
                *used = clock::now();
                true
            }
            _ => false,
        }
    }

    /// What every form of this browser's pages carries.
    pub fn proof(&self, value: &Value) -> String {
        let mut proof = Hmac::<Sha256>::new((&self.key).into());
        proof.update(value.0.as_bytes());
        let proof = proof.finalize().into_bytes();
        proof.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn is_proof(&self, value: &Value, given: &str) -> bool {
        self.proof(value).as_bytes().ct_eq(given.as_bytes()).into()
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<[u8; 32], Instant>> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn value(cookies: &str, cookie: &str) -> Option<Value> {
    let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == cookie)?;
    Value::parse(value)
}

fn set(cookie: &str, value: &Value, same_site: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!(
        "{cookie}={}; Path=/; HttpOnly; SameSite={same_site}{secure}",
        value.0
    )
}

fn hash(value: &Value) -> [u8; 32] {
    Sha256::digest(value.0.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_when_it_is_closed_or_idle() {
        let sessions = Sessions::new(8401);
        let value = sessions.open();
        tokio::time::advance(IDLE / 2).await;
        assert!(sessions.is_open(&value));
        tokio::time::advance(IDLE - Duration::from_secs(1)).await;
        assert!(sessions.is_open(&value), "it was used meanwhile");
        tokio::time::advance(IDLE).await;
        assert!(!sessions.is_open(&value));
        let value = sessions.open();
        sessions.close(&value);
        assert!(!sessions.is_open(&value));
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_unused_longest_goes_first() {
        let sessions = Sessions::new(8401);
        let first = sessions.open();
        tokio::time::advance(Duration::from_secs(1)).await;
        let others: Vec<Value> = (0..MOST).map(|_| sessions.open()).collect();
        assert!(!sessions.is_open(&first));
        assert!(others.iter().all(|value| sessions.is_open(value)));
    }

    #[test]
    fn a_cookie_is_read_by_its_own_name_and_form_alone() {
        let sessions = Sessions::new(8401);
        let value = sessions.begin();
        let set = sessions.set_visitor(&value, true);
        assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{set}");
        let pair = set.split(';').next().unwrap();
        assert_eq!(sessions.visitor(&format!("a=b; {pair}; c=d")), Some(value));
        assert_eq!(Sessions::new(8402).visitor(pair), None, "another port's");
        assert_eq!(sessions.visitor(&format!("my_{pair}")), None, "another program's");
        for short in ["short", "ab"] {
            assert_eq!(sessions.visitor(&format!("usertap_8401_visitor={short}")), None);
        }
    }

    #[test]
    fn a_visitor_is_no_session_and_a_session_no_visitor() {
        let sessions = Sessions::new(8401);
        let pair = |set: String| set.split(';').next().unwrap().to_owned();
        let (open, begun) = (sessions.open(), sessions.begin());
        let session = pair(sessions.set_session(&open, false));
        let visitor = pair(sessions.set_visitor(&begun, false));
        let both = format!("{visitor}; {session}");
        assert_eq!(
            (sessions.session(&both), sessions.visitor(&both)),
            (Some(open.clone()), Some(begun))
        );
        assert_eq!(
            (sessions.session(&visitor), sessions.visitor(&session)),
            (None, None)
        );
        sessions.close(&open);
        assert_eq!(sessions.session(&both), None, "it is over");
    }

    #[test]
    fn a_proof_is_one_browsers_and_one_processs() {
        let (one, other) = (Sessions::new(1), Sessions::new(1));
        let (mine, yours) = (one.begin(), one.begin());
        let proof = one.proof(&mine);
        assert!(one.is_proof(&mine, &proof));
        assert!(!one.is_proof(&yours, &proof) && !other.is_proof(&mine, &proof) && !one.is_proof(&mine, ""));
    }
}
