//! A URL with several hosts, a host with several addresses: the first that lets us in, and none that says nothing
//! keeps us from the next.
//!
//! The driver asks one after another, and waits for each as long as that likes: a server whose machine hangs, or to
//! which the way is gone without a word, would be all that is ever asked. So the next one's turn comes after a
//! moment, or at once where one has failed; who was asked before may still be the first to let us in.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::lookup_host;
use tokio::time::sleep;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::random;

/// Several turns fit into the time that a connection may take. A server that is there answers sooner.
const TURN: Duration = Duration::from_secs(1);

pub(super) type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

type Connected = (Client, Connection<Socket, Stream>);

pub(super) async fn connect(config: &Config, tls: &MakeRustlsConnect) -> Result<Connected, Error> {
    let hosts = each(config);
    match hosts.len() {
        0 | 1 => at_host(config, tls).await,
        _ => in_turn(hosts.iter().map(|host| at_host(host, tls))).await,
    }
}

/// A name may stand for several addresses.
async fn at_host(host: &Config, tls: &MakeRustlsConnect) -> Result<Connected, Error> {
    let addresses = addresses(host).await;
    match addresses.is_empty() {
        true => host.connect(tls.clone()).await,
        // Of one too: the driver would look it up once more.
        false => in_turn(addresses.iter().map(|address| address.connect(tls.clone()))).await,
    }
}

/// Of one or more.
async fn in_turn(
    mut others: impl ExactSizeIterator<Item = impl Future<Output = Result<Connected, Error>>>,
) -> Result<Connected, Error> {
    let mut asked = FuturesUnordered::from_iter(others.next());
    loop {
        let failed = tokio::select! {
            Some(answered) = asked.next() => match answered {
                Ok(connected) => return Ok(connected),
                Err(error) => Some(error),
            },
            () = sleep(TURN), if others.len() > 0 => None,
        };
        match (others.next(), failed) {
            (Some(next), _) => asked.push(next),
            (None, Some(error)) if asked.is_empty() => return Err(error),
            (None, _) => {}
        }
    }
}

/// For one address of the host's each; nothing where it is none by name, or the driver has to say what is wrong.
async fn addresses(host: &Config) -> Vec<Config> {
    let ([Host::Tcp(name)], []) = (host.get_hosts(), host.get_hostaddrs()) else {
        return Vec::new();
    };
    let found = lookup_host((&**name, 0)).await;
    let found = found.into_iter().flatten().map(|address| address.ip());
    mixed(host, found.map(|address| host.clone().hostaddr(address).clone()))
}

/// In the order of their turns.
fn mixed(config: &Config, each: impl Iterator<Item = Config>) -> Vec<Config> {
    let mut each: Vec<Config> = each.collect();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        each.sort_by_cached_key(|_| random::name());
    }
    each
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
    mixed(config, (0..many).map(|at| alone(config, at)))
}

/// The same with the host at this place alone.
fn alone(config: &Config, at: usize) -> Config {
    let mut one = Config::new();
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .target_session_attrs(config.get_target_session_attrs())
        .load_balance_hosts(config.get_load_balance_hosts())
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;
    use crate::db::connect::client_tls;

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

    /// As where a name stands for both.
    #[tokio::test]
    async fn whoever_says_nothing_keeps_nobody_from_the_next() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let there = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let ports = [port(&silent), port(&there)];
        let configs =
            ports.map(|port| format!("host=name hostaddr=127.0.0.1 port={port} user=u sslmode=disable"));
        let configs = configs.map(|config| config.parse::<Config>().expect("a configuration"));
        let tls = MakeRustlsConnect::new(client_tls(None).expect("no file"));
        let answers = async {
            let (mut stream, _) = there.accept().await.expect("a connection");
            let _startup = stream.read(&mut [0; 512]).await.expect("a startup message");
            let welcome = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
            stream.write_all(welcome).await.expect("whole");
            stream
        };
        let asked = in_turn(configs.iter().map(|config| config.connect(tls.clone())));
        let (connected, _stream) = tokio::join!(timeout(TURN * 20, asked), answers);
        assert!(connected.expect("in time").is_ok());
    }

    #[tokio::test]
    async fn only_what_a_name_stands_for_is_looked_up() {
        let found = |url: &'static str| async move { addresses(&url.parse().expect("a URL")).await };
        let local = found("postgres://u@localhost:7/db").await;
        let here = "host=localhost hostaddr=127.0.0.1 port=7 user=u dbname=db";
        assert!(
            local.contains(&here.parse().expect("a configuration")),
            "{local:?}"
        );
        assert_eq!(found("postgres://u@localhost/db?hostaddr=127.0.0.1").await, []);
        assert_eq!(found("postgres://u@%2Ftmp/db").await, []);
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_driver() {
        assert!(hosts("postgres://a,b,c/db?hostaddr=127.0.0.1,127.0.0.2").is_empty());
    }
}
