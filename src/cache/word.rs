//! How an answer came to be given, in the words of `x-usertap-cache`. The same words stand in the
//! log.

/// What became of a request at the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cached {
    Hit(Served),
    Miss(Missed),
    /// Given for want of the provider, and why it is wanting.
    Stale(Outage),
    Bypass(Bypass),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    Fresh,
    /// Another request had just been sent for it.
    Coalesced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    Absent,
    Expired,
    /// A change of what it tells of has come to be known.
    Changed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    Unreachable,
    Timeout,
    Broken,
    /// The provider answered with a 5xx.
    Error,
    RateLimited,
    /// It has failed so often that it is not asked at the moment.
    BreakerOpen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    /// `CACHE_TTL=0`.
    Off,
    /// Not a GET.
    Method,
    /// A route whose answers are not kept, or none that is known.
    Route,
    Foreign,
    /// The request asks for a fresh answer.
    NoCache,
    /// It has a body.
    Body,
    /// Its `Connection` header takes other headers away.
    Connection,
    /// A header that says who asks stands there twice.
    Repeated,
    /// Others record too, and what they did in the last second is not known.
    Unfollowed,
    /// usertap's own answer, or an upgrade.
    Own,
}

impl Cached {
    /// Every one of them, the quickest first.
    pub const ALL: [Cached; 21] = [
        Cached::Hit(Served::Fresh),
        Cached::Hit(Served::Coalesced),
        Cached::Miss(Missed::Absent),
        Cached::Miss(Missed::Expired),
        Cached::Miss(Missed::Changed),
        Cached::Bypass(Bypass::Off),
        Cached::Bypass(Bypass::Method),
        Cached::Bypass(Bypass::Route),
        Cached::Bypass(Bypass::Foreign),
        Cached::Bypass(Bypass::NoCache),
        Cached::Bypass(Bypass::Body),
        Cached::Bypass(Bypass::Connection),
        Cached::Bypass(Bypass::Repeated),
        Cached::Bypass(Bypass::Unfollowed),
        Cached::Bypass(Bypass::Own),
        Cached::Stale(Outage::Unreachable),
        Cached::Stale(Outage::Timeout),
        Cached::Stale(Outage::Broken),
        Cached::Stale(Outage::Error),
        Cached::Stale(Outage::RateLimited),
        Cached::Stale(Outage::BreakerOpen),
    ];

    /// As in the header.
    pub fn words(self) -> &'static str {
        match self {
            Cached::Hit(Served::Fresh) => "hit; fresh",
            Cached::Hit(Served::Coalesced) => "hit; coalesced",
            Cached::Miss(Missed::Absent) => "miss; absent",
            Cached::Miss(Missed::Expired) => "miss; expired",
            Cached::Miss(Missed::Changed) => "miss; changed",
            Cached::Stale(outage) => outage.words(),
            Cached::Bypass(bypass) => bypass.words(),
        }
    }
}

impl Outage {
    fn words(self) -> &'static str {
        match self {
            Outage::Unreachable => "stale; upstream-unreachable",
            Outage::Timeout => "stale; upstream-timeout",
            Outage::Broken => "stale; upstream-broken",
            Outage::Error => "stale; upstream-error",
            Outage::RateLimited => "stale; rate-limited",
            Outage::BreakerOpen => "stale; breaker-open",
        }
    }
}

impl Bypass {
    fn words(self) -> &'static str {
        match self {
            Bypass::Off => "bypass; off",
            Bypass::Method => "bypass; method",
            Bypass::Route => "bypass; route",
            Bypass::Foreign => "bypass; foreign-tenant",
            Bypass::NoCache => "bypass; no-cache",
            Bypass::Body => "bypass; request-body",
            Bypass::Connection => "bypass; connection",
            Bypass::Repeated => "bypass; repeated",
            Bypass::Unfollowed => "bypass; unfollowed",
            Bypass::Own => "bypass; own-answer",
        }
    }
}
