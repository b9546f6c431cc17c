//! Whose `X-Forwarded-*` is believed: nobody's, unless they are written.
//!
//! An IPv4 address is the same however it is written, or comes to a listener of IPv6: `::ffff:10.0.0.1` is
//! `10.0.0.1`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use super::mistake::shown;

/// Of an IPv6 address that holds one of IPv4, all that stands before it.
const MAPPED: u8 = 96;

/// Addresses and networks; a clone is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// Separated by commas; or what is wrong with each one that is none, and what to write instead.
    pub fn read(text: &str) -> Result<TrustedProxies, Vec<String>> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let (networks, wrong): (Vec<_>, Vec<_>) = items.map(network).partition(Result::is_ok);
        match wrong.is_empty() {
            true => Ok(TrustedProxies(networks.into_iter().flatten().collect())),
            false => Err(wrong.into_iter().filter_map(Result::err).collect()),
        }
    }

    pub fn has(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }
}

/// `10.0.0.1` is a network of one.
fn network(item: &str) -> Result<IpNet, String> {
    let (address, length) = match item.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (item, None),
    };
    let address: Option<IpAddr> = address.parse().ok();
    let written = address.and_then(|address| match length {
        None => Some(IpNet::from(address)),
        Some(length) => IpNet::new(address, length.parse().ok()?).ok(),
    });
    let Some(network) = written.map(canonical) else {
        return Err(format!(
            "{} is neither an address nor a network: write each one such as `10.0.0.1`, `10.0.0.0/8` or `fd00::/8`, \
             without a name or port",
            shown(item, false)
        ));
    };
    match network.trunc() == network {
        true => Ok(network),
        false => Err(format!(
            "{} is an address in a network: write `{}` for the whole network, or `{}` for the address alone",
            shown(item, false),
            network.trunc(),
            network.addr()
        )),
    }
}

fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else {
        return network;
    };
    let length = six.prefix_len().checked_sub(MAPPED);
    let four = six.addr().to_ipv4_mapped().zip(length);
    let four = four.and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    four.map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(list: &str, peer: &str) -> bool {
        TrustedProxies::read(list).unwrap().has(peer.parse().unwrap())
    }

    #[test]
    fn addresses_and_networks_of_both_kinds() {
        let list = " 127.0.0.1, 10.0.0.0/8,fd00::/8 ,::1,192.0.2.7/32,2001:DB8::7/128,";
        for trusted in [
            "127.0.0.1",
            "10.255.255.255",
            "fdff::1",
            "::1",
            "192.0.2.7",
            "2001:db8::7",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
        ] {
            assert!(has(list, trusted), "{trusted}");
        }
        for other in [
            "127.0.0.2",
            "11.0.0.0",
            "9.255.255.255",
            "fe00::1",
            "::",
            "192.0.2.6",
            "2001:db8::8",
            "::ffff:127.0.0.2",
            // Not the mapped form: an address of its own.
            "::10.0.0.1",
            "64:ff9b::10.0.0.1",
        ] {
            assert!(!has(list, other), "{other}");
        }
    }

    #[test]
    fn nobody_is_trusted_unless_written() {
        assert!(!TrustedProxies::default().has(IpAddr::from([127, 0, 0, 1])));
        for nobody in ["", " ", ",", " , "] {
            assert_eq!(TrustedProxies::read(nobody), Ok(TrustedProxies::default()));
        }
    }

    #[test]
    fn everybody_is_everybody_of_one_kind() {
        assert!(has("0.0.0.0/0", "::ffff:192.0.2.1") && !has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("::/0", "2001:db8::1") && !has("::/0", "::ffff:192.0.2.1"));
    }

    #[test]
    fn what_is_written_as_mapped_is_of_ipv4() {
        for list in ["::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "::ffff:a00:0/104"] {
            assert!(has(list, "10.0.0.1") && has(list, "::ffff:10.0.0.1"), "{list}");
            assert!(!has(list, "11.0.0.1") && !has(list, "::1"), "{list}");
        }
        let wrong = TrustedProxies::read("::ffff:10.0.0.1/104").unwrap_err();
        assert!(wrong[0].contains("write `10.0.0.0/8`"), "{wrong:?}");
    }

    #[test]
    fn every_item_that_is_none_is_named_with_its_remedy() {
        let wrong = TrustedProxies::read("10.0.0.1, 10.0.0.1/8, nginx,fd00::1/8").unwrap_err();
        assert_eq!(
            wrong,
            [
                "`10.0.0.1/8` is an address in a network: write `10.0.0.0/8` for the whole network, or `10.0.0.1` for \
                 the address alone",
                "`nginx` is neither an address nor a network: write each one such as `10.0.0.1`, `10.0.0.0/8` or \
                 `fd00::/8`, without a name or port",
                "`fd00::1/8` is an address in a network: write `fd00::/8` for the whole network, or `fd00::1` for the \
                 address alone",
            ]
        );
        for none in [
            "localhost",
            "10.0.0.1:80",
            "[::1]",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0",
            "10.0.0.0-10.0.0.9",
            "010.0.0.0/8",
            "fe80::1%eth0",
            "*",
            "10.0.0.1 10.0.0.2",
        ] {
            let wrong = TrustedProxies::read(none).unwrap_err();
            assert!(wrong[0].contains("neither an address nor a network"), "{wrong:?}");
        }
    }
}
