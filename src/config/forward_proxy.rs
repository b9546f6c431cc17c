//! The operator's own HTTP proxy, where nothing else leads out of their network.
//!
//! What must never be: its password in a log or an error.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::value::Parsed;

/// Asked for a tunnel to the provider (RFC 9110, 9.3.6): what goes through it is the provider's TLS.
#[derive(Debug, Clone)]
pub struct ForwardProxy {
    pub address: Uri,
    /// As its header has it; never printed.
    pub authorization: Option<HeaderValue>,
}

/// `http://`, perhaps a user and a password, host and port.
pub fn forward_proxy(text: &str) -> Parsed<ForwardProxy> {
    let url: url::Url = text
        .trim()
        .parse()
        .map_err(|_| "is no URL: write it whole, such as `http://proxy.example:3128`".to_owned())?;
    let host = url.host_str().filter(|_| url.scheme() == "http");
    let Some(host) = host else {
        return Err(
            "must start with `http://`: a proxy that is itself spoken to with TLS or SOCKS is not supported"
                .to_owned(),
        );
    };
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its port: take out what stands after it".to_owned());
    }
    let port = url.port_or_known_default().unwrap_or_default();
    let address = format!("http://{host}:{port}/");
    Ok(ForwardProxy {
        address: address
            .parse()
            .map_err(|_| "has a host that HTTP has no form for".to_owned())?,
        authorization: authorization(&url),
    })
}

/// Basic (RFC 7617); in the URL both are percent-encoded.
fn authorization(url: &url::Url) -> Option<HeaderValue> {
    let password = url.password().unwrap_or_default();
    if url.username().is_empty() && password.is_empty() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_address_and_perhaps_a_user() {
        let proxy = forward_proxy("http://us%40er:pa%3Ass@proxy.example:3128").unwrap();
        assert_eq!(proxy.address, "http://proxy.example:3128/");
        let sent = proxy.authorization.clone().unwrap();
        assert_eq!(sent, format!("Basic {}", STANDARD.encode("us@er:pa:ss")));
        let printed = format!("{proxy:?}");
        assert!(!printed.contains("Basic") && !printed.contains("pa"), "{printed}");
        let bare = forward_proxy("http://[::1]").unwrap();
        assert_eq!(bare.address, "http://[::1]:80/");
        assert!(bare.authorization.is_none());
    }

    #[test]
    fn what_cannot_be_spoken_to_is_refused() {
        for wrong in [
            "",
            "proxy.example:3128",
            "https://proxy.example",
            "socks5://proxy.example:1080",
            "http://proxy.example/path",
            "http://proxy.example/?q",
            "http://proxy.example/#f",
        ] {
            assert!(forward_proxy(wrong).is_err(), "{wrong}");
        }
    }
}
