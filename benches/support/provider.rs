//! The sandbox in the provider's place, in this process, and the settings that point to it.

use secrecy::{ExposeSecret, SecretString};
use usertap::config::Config;
use usertap::sandbox::{Options, Sandbox};
use usertap::tasks::Tasks;

pub async fn sandbox(users: usize, tasks: &Tasks) -> Sandbox {
    let options = Options {
        users,
        ..Options::default()
    };
    Sandbox::start(options, tasks).await.expect("a free port")
}

/// Settings as a user writes them. The limit is so high that none is felt: the polite beginning
/// at a provider without a published limit would be all that is measured.
pub fn config(sandbox: &Sandbox, database: &SecretString, more: &[(&str, &str)]) -> Config {
    let own = [
        ("DATABASE_URL", database.expose_secret()),
        ("USERTAP_LISTEN", "127.0.0.1:0"),
        ("USERTAP_ADMIN_LISTEN", "127.0.0.1:0"),
        ("USERTAP_RATE", "100000/1s"),
    ];
    let own = own.iter().chain(more);
    let own = own.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_env(own.chain(sandbox.settings(0))).expect("settings without a mistake")
}
