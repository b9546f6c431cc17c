//! Where usertap listens and whom it believes there, and where the database is.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::super::database_url::{self, DatabaseUrl, Doubt, TlsMode};
use super::super::{Database, Tls, TrustedProxies};
use super::value;
use super::{Check, holds};

/// A token that is shorter is guessed in no long time.
const WEAK: usize = 16;

impl Check<'_> {
    pub fn database(&mut self) -> Option<Database> {
        let ca = self.ca("DATABASE_CA");
        if self.settings.text("DATABASE_URL") == Some("embedded") {
            return self.embedded();
        }
        let url = self.value("DATABASE_URL", database_url::parse);
        let direct = self.optional("DATABASE_DIRECT_URL", database_url::parse);
        let (url, doubts) = url?;
        let direct = direct?;
        let named = direct.is_some();
        self.doubts("DATABASE_URL", &doubts, named);
        self.authority("DATABASE_URL", &url);
        let (direct, doubts) = direct.unwrap_or_else(|| (url.clone(), Vec::new()));
        self.doubts("DATABASE_DIRECT_URL", &doubts, false);
        if named {
            self.authority("DATABASE_DIRECT_URL", &direct);
        }
        let [url, direct] = self.with_ca([url, direct], ca?.as_deref())?;
        Some(Database::Url { url, direct })
    }

    /// That of the URL itself.
    fn authority(&mut self, name: &str, url: &DatabaseUrl) {
        let held = url.ca.as_deref().map(|ca| holds(self.read, ca, "CERTIFICATE"));
        if let Some(Err(problem)) = held {
            self.wrong(name, &format!("has a `sslrootcert` that {problem}"));
        }
    }

    /// `None` only with a mistake.
    pub fn database_idle(
        &mut self,
        poll_every: Option<Duration>,
        reconcile_every: Option<Duration>,
    ) -> Option<Option<Duration>> {
        let idle = self.value("DATABASE_IDLE", value::every)?;
        for (name, every) in [("POLL_EVERY", poll_every), ("RECONCILE_EVERY", reconcile_every)] {
            if idle.zip(every).is_some_and(|(idle, every)| every <= idle) {
                self.warnings.push(format!(
                    "{name} needs the database more often than DATABASE_IDLE lets it go: it is never left alone"
                ));
            }
        }
        Some(idle)
    }

    fn embedded(&mut self) -> Option<Database> {
        if self.settings.written("DATABASE_DIRECT_URL").is_some() {
            let text = "DATABASE_DIRECT_URL is left out, for DATABASE_URL is `embedded`";
            self.warnings.push(text.to_owned());
        }
        Some(Database::Embedded)
    }

    fn doubts(&mut self, name: &str, doubts: &[Doubt], direct: bool) {
        let heard = doubts
            .iter()
            .filter(|doubt| !(direct && **doubt == Doubt::Pooler));
        self.warnings.extend(heard.map(|doubt| format!("{name} {doubt}")));
    }

    /// For those of the two that use TLS.
    fn with_ca(&mut self, ways: [DatabaseUrl; 2], ca: Option<&Path>) -> Option<[DatabaseUrl; 2]> {
        let Some(ca) = ca else {
            return Some(ways);
        };
        // Where neither says so, it is meant for what can.
        let may = [TlsMode::uses_it, TlsMode::can]
            .into_iter()
            .find(|may| ways.iter().any(|way| may(way.tls)));
        let Some(may) = may else {
            let text = "is of no use without TLS (`sslmode=disable`, or a socket): take one of them out";
            self.wrong("DATABASE_CA", text);
            return None;
        };
        Some(ways.map(|way| match may(way.tls) {
            true => way.with_ca(ca.to_owned()),
            false => way,
        }))
    }

    /// The proxy's address and the admin side's, which must not meet.
    pub fn listens(&mut self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let listen = match self.settings.written("LISTEN") {
            Some(_) => self.value("LISTEN", value::address),
            None => self.port_alone(),
        };
        let admin = self.value("ADMIN_LISTEN", value::address);
        if let (Some(listen), Some(admin)) = (listen, admin)
            && listen.port() == admin.port()
            && listen.port() != 0
        {
            let text = format!(
                "has port {} like the proxy: give one of them another port",
                admin.port()
            );
            self.wrong("ADMIN_LISTEN", &text);
        }
        (listen, admin)
    }

    fn port_alone(&mut self) -> Option<SocketAddr> {
        match self.optional("PORT", value::port)? {
            Some(address) => Some(address),
            None => self.value("LISTEN", value::address),
        }
    }

    pub fn admin_token(&mut self, listen: Option<SocketAddr>) -> Option<Option<SecretString>> {
        let token = self.secret("ADMIN_TOKEN")?;
        let beyond = listen.is_some_and(|listen| !listen.ip().is_loopback());
        if beyond && token.is_none() {
            let text = "is missing, but ADMIN_LISTEN is reachable from other machines: set a long random token, \
                        or let ADMIN_LISTEN be a loopback address such as `127.0.0.1:8401`";
            self.wrong("ADMIN_TOKEN", text);
            return None;
        }
        let is_weak = |token: &SecretString| token.expose_secret().chars().count() < WEAK;
        if token.as_ref().is_some_and(is_weak) {
            self.warnings.push(format!(
                "ADMIN_TOKEN has fewer than {WEAK} characters, and whoever guesses it may read and write every user: set a \
                 long random one, such as `openssl rand -hex 32` prints"
            ));
        }
        Some(token)
    }

    /// Each item that is wrong is a mistake of its own. `None` only with one.
    pub fn trusted_proxies(&mut self) -> Option<TrustedProxies> {
        let name = "TRUSTED_PROXIES";
        let text = self.optional(name, |text| Ok(text.to_owned()))?;
        let read = TrustedProxies::read(&text.unwrap_or_default());
        read.map_err(|wrong| wrong.iter().for_each(|text| self.wrong(name, text)))
            .ok()
    }

    pub fn tls(&mut self) -> Option<Option<Tls>> {
        let cert = self.pem("TLS_CERT", "CERTIFICATE");
        let key = self.pem("TLS_KEY", "PRIVATE KEY");
        match (cert?, key?) {
            (Some(cert), Some(key)) => Some(Some(Tls { cert, key })),
            (None, None) => Some(None),
            (Some(_), None) => self.alone("TLS_KEY", "TLS_CERT"),
            (None, Some(_)) => self.alone("TLS_CERT", "TLS_KEY"),
        }
    }

    fn alone(&mut self, missing: &str, written: &str) -> Option<Option<Tls>> {
        let text = format!("is missing beside {written}: set both for TLS, or neither");
        self.wrong(missing, &text);
        None
    }
}
