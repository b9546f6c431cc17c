//! A URL with several hosts: the first that lets us in, and none that says nothing keeps us from the next.
//!
//! The driver asks one after another, and waits for each as long as that likes: a server whose machine hangs, or to
//! which the way is gone without a word, would be all that is ever asked. So the next one's turn comes after a
//! moment, or at once where one has failed; who was asked before may still be the first to let us in.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::random;

/// Several turns fit into the time that a connection may take. A server that is there answers sooner.
const TURN: Duration = Duration::from_secs(1);

pub(super) type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

pub(super) async fn connect(
    config: &Config,
    tls: &MakeRustlsConnect,
) -> Result<(Client, Connection<Socket, Stream>), Error> {
    let hosts = each(config);
    let (Some((first, others)), 2..) = (hosts.split_first(), hosts.len()) else {
        return config.connect(tls.clone()).await;
    };
    let mut asked = FuturesUnordered::from_iter([first.connect(tls.clone())]);
    let mut others = others.iter();
    loop {
        let failed = tokio::select! {
            Some(answered) = asked.next() => match answered {
                Ok(connected) => return Ok(connected),
                Err(error) => Some(error),
            },
            () = sleep(TURN), if others.len() > 0 => None,
        };
        match (others.next(), failed) {
            (Some(next), _) => asked.push(next.connect(tls.clone())),
            (None, Some(error)) if asked.is_empty() => return Err(error),
            (None, _) => {}
        }
    }
}

/// For one host each, in the order of their turns; nothing where the driver has to say what is wrong.
fn each(config: &Config) -> Vec<Config> {
    let (names, addresses) = (config.get_hosts().len(), config.get_hostaddrs().len());
    let many = names.max(addresses);
    let fits = |count: usize| count == many || count == 0;
    if !fits(names) || !fits(addresses) || !(fits(config.get_ports().len()) || config.get_ports().len() == 1)
    {
        return Vec::new();
    }
    let mut each: Vec<Config> = (0..many).map(|at| alone(config, at)).collect();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        each.sort_by_cached_key(|_| random::name());
    }
    each
}

/// The same with the host at this place alone.
fn alone(config: &Config, at: usize) -> Config {
    let mut one = Config::new();
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .target_session_attrs(config.get_target_session_attrs())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle());
    config.get_user().map(|user| one.user(user));
    config.get_password().map(|password| one.password(password));
    config.get_dbname().map(|name| one.dbname(name));
    config.get_options().map(|options| one.options(options));
    config
        .get_application_name()
        .map(|name| one.application_name(name));
    config
        .get_connect_timeout()
        .map(|time| one.connect_timeout(*time));
    config
        .get_tcp_user_timeout()
        .map(|time| one.tcp_user_timeout(*time));
    config
        .get_keepalives_interval()
        .map(|time| one.keepalives_interval(time));
    config
        .get_keepalives_retries()
        .map(|times| one.keepalives_retries(times));
    match config.get_hosts().get(at) {
        Some(Host::Tcp(name)) => drop(one.host(name)),
        #[cfg(unix)]
        Some(Host::Unix(path)) => drop(one.host_path(path)),
        None => {}
    }
    config
        .get_hostaddrs()
        .get(at)
        .map(|address| one.hostaddr(*address));
    let ports = config.get_ports();
    ports.get(at).or(ports.first()).map(|port| one.port(*port));
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<Config> {
        each(&url.parse().unwrap())
    }

    #[test]
    fn each_is_asked_as_the_url_says() {
        let options = "target_session_attrs=read-write&application_name=u&options=-cx%3Dy&connect_timeout=7\
                       &keepalives_idle=9&sslmode=disable&channel_binding=disable";
        let both = hosts(&format!("postgres://u:p@a:1,b:2/db?{options}"));
        let one = |host| {
            format!("postgres://u:p@{host}/db?{options}")
                .parse::<Config>()
                .unwrap()
        };
        assert_eq!(both, [one("a:1"), one("b:2")]);
        let both = hosts("host=a,b port=7");
        assert_eq!(both[1], "host=b port=7".parse().unwrap());
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_driver() {
        assert!(hosts("postgres://a,b,c/db?hostaddr=127.0.0.1,127.0.0.2").is_empty());
    }
}
