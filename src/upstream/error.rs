//! Why the provider gave no answer, and why there is no way to it.

use std::time::Duration;

use super::TrustError;
use crate::descriptors;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// No connection: nothing was sent.
    #[error("the provider cannot be reached: {0}")]
    Unreachable(Obstacle),
    /// It may or may not have been carried out.
    #[error("the provider did not answer in time")]
    Timeout,
    /// Nothing was sent. `in_line`: others wait for the same places.
    #[error("the provider's limit is used up")]
    Limited { retry_after: Duration, in_line: bool },
    /// It has failed so often that it is left alone for a moment: nothing was sent.
    #[error("the provider fails and is left alone for a moment")]
    Resting { retry_after: Duration },
    /// It may or may not have been carried out.
    #[error("the provider's answer broke off or cannot be read")]
    Broken,
    /// Its body broke off, stood still or dripped: the provider never had all of it.
    #[error("the request broke off, or came too slowly to be sent on")]
    Unfinished,
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    #[error("nobody knows its host's name")]
    Nameless,
    #[error("the connection was refused")]
    Refused,
    #[error("no connection came about in time")]
    Silent,
    #[error("it speaks no TLS, where UPSTREAM begins with https://")]
    Plain,
    #[error("its certificate is not trusted; that of a private authority needs UPSTREAM_CA")]
    Untrusted,
    #[error("the proxy that UPSTREAM_PROXY names cannot be reached")]
    ProxyAway,
    #[error("the proxy that UPSTREAM_PROXY names asks for a user and a password, or takes others than these")]
    ProxyLocked,
    #[error("the proxy that UPSTREAM_PROXY names makes no tunnel to UPSTREAM")]
    ProxyRefuses,
    #[error("usertap, or its machine, has as many files and connections open as it may")]
    Short,
    #[error("the connection broke as it was made")]
    Broken,
}

impl UpstreamError {
    /// For apps, whom the operator's settings do not concern.
    pub fn brief(self) -> String {
        match self {
            UpstreamError::Unreachable(_) => "the provider cannot be reached".to_owned(),
            other => other.to_string(),
        }
    }

    /// What to do about it, where it is more than to wait.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            UpstreamError::Unreachable(obstacle) => obstacle.remedy(),
            _ => None,
        }
    }

    /// Whether the provider can have carried the request out all the same.
    pub fn leaves_doubt(self) -> bool {
        matches!(self, UpstreamError::Timeout | UpstreamError::Broken)
    }

    /// Whether the provider has not even heard of it.
    pub fn sent_nothing(self) -> bool {
        matches!(
            self,
            UpstreamError::Unreachable(_) | UpstreamError::Limited { .. } | UpstreamError::Resting { .. }
        )
    }
}

impl Obstacle {
    fn remedy(self) -> Option<&'static str> {
        match self {
            Obstacle::Nameless => Some(
                "correct the host in UPSTREAM and restart usertap; where it is right, see to this machine's name server",
            ),
            Obstacle::Plain => {
                Some("write UPSTREAM with http://, or with the port that speaks TLS, and restart usertap")
            }
            Obstacle::Untrusted => Some(
                "set UPSTREAM_CA to the file of the authority that signed it and restart usertap; where a public one did, it \
                 has run out or is for another host than UPSTREAM's: have the provider renew it, or correct UPSTREAM",
            ),
            Obstacle::ProxyAway => Some("see to that proxy, or correct UPSTREAM_PROXY and restart usertap"),
            Obstacle::ProxyLocked => Some(
                "write them into UPSTREAM_PROXY, as in http://user:password@proxy.example:3128, and restart usertap",
            ),
            Obstacle::ProxyRefuses => {
                Some("have it allow CONNECT to UPSTREAM's host and port, and see that it can reach them")
            }
            Obstacle::Short => Some(descriptors::RAISE),
            Obstacle::Refused | Obstacle::Silent | Obstacle::Broken => None,
        }
    }
}

impl From<Obstacle> for UpstreamError {
    fn from(obstacle: Obstacle) -> UpstreamError {
        UpstreamError::Unreachable(obstacle)
    }
}

/// Why there is no way to the provider.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error("UPSTREAM must be an http or https URL with a host")]
    Unfit,
    #[error(transparent)]
    Trust(#[from] TrustError),
}
