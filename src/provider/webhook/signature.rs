//! How webhooks are signed: three schemes, each an HMAC with SHA-256 over the body as it came.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use sha2::Sha256;

use super::{Refused, Signed};
use crate::provider::form::Encoding;

/// Where a signature stands, and what it is over.
#[derive(Debug)]
pub(in crate::provider) enum Scheme {
    /// Standard Webhooks and Svix: `svix-id`, `svix-timestamp`, `svix-signature`, or `webhook-…`; over
    /// `id.timestamp.body`, in base64.
    Standard,
    /// One header `t=…, v1=…`; over `t.body`, in hex.
    Timed { header: HeaderName },
    /// One header; over the body alone.
    Plain {
        header: HeaderName,
        encoding: Encoding,
        prefix: Option<String>,
    },
    /// One header that holds the secret itself: whoever has it may say anything.
    Secret {
        header: HeaderName,
        prefix: Option<String>,
    },
}

/// Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret")
    }
}

/// The two spellings of the standard's headers: id, time, signature.
const STANDARD_HEADERS: [[&str; 3]; 2] = [
    ["svix-id", "svix-timestamp", "svix-signature"],
    ["webhook-id", "webhook-timestamp", "webhook-signature"],
];
/// Signatures in one delivery that are tried: one for each secret in a rotation, and some room.
const SIGNATURES: usize = 8;
/// A number of seconds since 1970 reaches this in the year 5138; a larger one counts milliseconds.
const MILLIS_FROM: i64 = 100_000_000_000;

/// Whoever finds such a secret by trying is believed.
const SHORTEST: usize = 16;
const TOO_SHORT: &str = "can be guessed: make one of at least 16 characters, such as `openssl rand -hex 24` prints, and \
                         give the provider the same";

impl Scheme {
    pub(super) fn secret(&self, text: &str) -> Result<SigningSecret, &'static str> {
        const NOT_STANDARD: &str = "is no signing secret: copy it whole from the endpoint's page in the provider's \
                                    dashboard, it reads `whsec_…`";
        match self {
            Scheme::Standard => {
                let key = text.strip_prefix("whsec_").unwrap_or(text);
                let key = STANDARD.decode(key).map_err(|_| NOT_STANDARD)?;
                match key.is_empty() {
                    true => Err(NOT_STANDARD),
                    false => Ok(SigningSecret(key)),
                }
            }
            Scheme::Timed { .. } | Scheme::Plain { .. } => Ok(SigningSecret(text.into())),
            Scheme::Secret { .. } if text.len() < SHORTEST => Err(TOO_SHORT),
            Scheme::Secret { .. } => Ok(SigningSecret(text.into())),
        }
    }

    /// # Errors
    /// [`Refused::Unsigned`] where it is not signed in this way, [`Refused::Signature`] where wrongly.
    pub(super) fn check<'h>(
        &self,
        headers: &'h HeaderMap,
        body: &[u8],
        secrets: &[SigningSecret],
    ) -> Result<Signed<'h>, Refused> {
        match self {
            Scheme::Standard => standard(headers, body, secrets),
            Scheme::Timed { header } => timed(one(headers, header.as_str())?, body, secrets),
            Scheme::Plain {
                header,
                encoding,
                prefix,
            } => {
                let shown = one(headers, header.as_str())?;
                let shown = behind(shown, prefix.as_deref())?;
                let signature = encoding.decode(shown).ok_or(Refused::Unsigned)?;
                is_by_one_of(secrets, &[body], &[signature])?;
                Ok(Signed { id: None, at: None })
            }
            Scheme::Secret { header, prefix } => {
                let shown = behind(one(headers, header.as_str())?, prefix.as_deref())?;
                is_one_of(secrets, shown.as_bytes())?;
                Ok(Signed { id: None, at: None })
            }
        }
    }
}

fn behind<'h>(shown: &'h str, prefix: Option<&str>) -> Result<&'h str, Refused> {
    let shown = match prefix {
        Some(prefix) => shown.strip_prefix(prefix).ok_or(Refused::Unsigned)?,
        None => shown,
    };
    Ok(shown.trim())
}

fn standard<'h>(
    headers: &'h HeaderMap,
    body: &[u8],
    secrets: &[SigningSecret],
) -> Result<Signed<'h>, Refused> {
    let spelled = STANDARD_HEADERS.iter().find(|[id, ..]| headers.contains_key(*id));
    let [id, at, signatures] = spelled.ok_or(Refused::Unsigned)?;
    let (id, at, signatures) = (one(headers, id)?, one(headers, at)?, one(headers, signatures)?);
    let of_v1 = signatures.split(' ').filter_map(|one| one.strip_prefix("v1,"));
    let signatures: Vec<_> = of_v1
        .filter_map(|text| Encoding::Base64.decode(text))
        .take(SIGNATURES)
        .collect();
    let signed = [id.as_bytes(), b".", at.as_bytes(), b".", body];
    let time = time(at).ok_or(Refused::Unsigned)?;
    is_by_one_of(secrets, &signed, &signatures)?;
    Ok(Signed {
        id: Some(id),
        at: Some(time),
    })
}

fn timed<'h>(shown: &'h str, body: &[u8], secrets: &[SigningSecret]) -> Result<Signed<'h>, Refused> {
    let parts = || shown.split(',').filter_map(|part| part.trim().split_once('='));
    let at = parts().find(|(name, _)| *name == "t").map(|(_, value)| value);
    let at = at.ok_or(Refused::Unsigned)?;
    let signatures = parts().filter(|(name, _)| *name == "v1");
    let signatures: Vec<_> = signatures
        .filter_map(|(_, value)| Encoding::Hex.decode(value))
        .take(SIGNATURES)
        .collect();
    let time = time(at).ok_or(Refused::Unsigned)?;
    is_by_one_of(secrets, &[at.as_bytes(), b".", body], &signatures)?;
    Ok(Signed {
        id: None,
        at: Some(time),
    })
}

/// A header that is there exactly once: of two, another reader may have taken the other.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Refused> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| Refused::Unsigned),
        _ => Err(Refused::Unsigned),
    }
}

/// In seconds or milliseconds, as the provider has it.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let number: i64 = text.parse().ok()?;
    match number {
        MILLIS_FROM.. => DateTime::from_timestamp_millis(number),
        _ => DateTime::from_timestamp(number, 0),
    }
}

/// Each comparison takes as long whether or not it fits.
fn is_by_one_of(secrets: &[SigningSecret], signed: &[&[u8]], signatures: &[Vec<u8>]) -> Result<(), Refused> {
    if signatures.is_empty() {
        return Err(Refused::Unsigned);
    }
    let by = |secret: &SigningSecret| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&secret.0) else {
            return false;
        };
        signed.iter().for_each(|part| mac.update(part));
        let fits = |signature: &Vec<u8>| mac.clone().verify_slice(signature).is_ok();
        signatures.iter().any(fits)
    };
    match secrets.iter().any(by) {
        true => Ok(()),
        false => Err(Refused::Signature),
    }
}

/// What is compared are hashes of both, so that the time it takes tells nothing of either.
fn is_one_of(secrets: &[SigningSecret], shown: &[u8]) -> Result<(), Refused> {
    let hash = |text: &[u8]| Hmac::<Sha256>::new_from_slice(text).ok();
    let same = |secret: &SigningSecret| match (hash(shown), hash(&secret.0)) {
        (Some(shown), Some(secret)) => secret.verify_slice(&shown.finalize().into_bytes()).is_ok(),
        _ => false,
    };
    match secrets.iter().any(same) {
        true => Ok(()),
        false => Err(Refused::Signature),
    }
}

impl Encoding {
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Encoding::Base64 => STANDARD.decode(text).ok(),
            Encoding::Hex => {
                let digits = text.as_bytes().chunks(2);
                digits.map(|pair| byte(std::str::from_utf8(pair).ok()?)).collect()
            }
        }
    }
}

fn byte(pair: &str) -> Option<u8> {
    let is_hex = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(pair, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests;
