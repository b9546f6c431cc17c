//! `usertap doctor`: each thing that must be right, one line each, with the remedy.

mod database;

use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

use super::serving::{self, Unasked};
use super::trial;
use crate::cli::StatusOptions;
use crate::clock;
use crate::config::Config;
use crate::descriptors;
use crate::probe::{Found, REMEDY, probe};
use crate::provider::Clocks;
use crate::station;
use crate::upstream::{Fetched, Upstream};

/// One line of the report.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    what: &'static str,
    ok: bool,
    found: String,
    /// Empty where nothing is to be done.
    remedy: String,
}

pub async fn run(config: Config, json: bool) -> ExitCode {
    let mut checks = vec![passed("settings", "every setting can be read".into())];
    checks.extend(hints(&config));
    checks.push(data_dir(&config));
    checks.push(open_files(&config));
    checks.extend(database::checks(&config).await);
    checks.extend(provider(&config).await);
    checks.extend(webhooks(&config));
    checks.extend(serving(&config).await);
    let ok = checks.iter().all(|check| check.ok);
    match json {
        true => say!("{}", serde_json::json!({ "ok": ok, "checks": checks })),
        false => checks.iter().for_each(print),
    }
    match ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn print(check: &Check) {
    let mark = if check.ok { "ok  " } else { "FAIL" };
    let remedy = if check.remedy.is_empty() {
        String::new()
    } else {
        format!(" -> {}", check.remedy)
    };
    say!("{mark} {}: {}{remedy}", check.what, check.found);
}

pub(super) fn passed(what: &'static str, found: String) -> Check {
    Check {
        what,
        ok: true,
        found,
        remedy: String::new(),
    }
}

pub(super) fn failed(what: &'static str, found: String, remedy: &str) -> Check {
    Check {
        what,
        ok: false,
        found,
        remedy: remedy.into(),
    }
}

/// What works, but perhaps not as meant.
fn hints(config: &Config) -> Vec<Check> {
    let warnings = config
        .warnings
        .iter()
        .map(|warning| passed("hint", warning.clone()));
    let port = config.listen.port();
    // The SDK gives such a base URL a fallback of its own (Stack Auth, `urls.tsx`).
    let trap = (port % 100 == 2 && config.listen.ip().is_loopback()).then(|| Check {
        remedy: "choose a port that does not end in 02".into(),
        ..passed(
            "hint",
            format!("Stack Auth's SDK treats http://localhost:{port} as its own development server"),
        )
    });
    warnings.chain(trap).collect()
}

/// As this shell allows them: a unit or a container may have another limit.
fn open_files(config: &Config) -> Check {
    const WHAT: &str = "open files";
    let tenants = config.beside.len() + 1;
    if let Some(short) = descriptors::too_few(tenants) {
        return failed(WHAT, short.what, short.remedy);
    }
    let found = format!(
        "{} at once, so {} connections of apps",
        descriptors::allowed(),
        descriptors::room(tenants)
    );
    Check {
        remedy: descriptors::few(tenants).unwrap_or_default().into(),
        ..passed(WHAT, found)
    }
}

/// A file is made in the folder and goes again, as does every folder that it took.
fn data_dir(config: &Config) -> Check {
    const WHAT: &str = "DATA_DIR";
    let folder = &config.journal_dir;
    match station::try_folder(folder) {
        Ok(()) => passed(WHAT, format!("{} can be written", folder.display())),
        Err(error) => failed(
            WHAT,
            format!("{} cannot be written: {error}", folder.display()),
            "give usertap's account the folder, or set DATA_DIR to one that it can write",
        ),
    }
}

async fn provider(config: &Config) -> Vec<Check> {
    const WHAT: &str = "provider key";
    let upstream = match Upstream::alone(config) {
        Ok(upstream) => upstream,
        Err(error) => {
            return vec![failed(
                "provider",
                error.to_string(),
                "correct UPSTREAM or UPSTREAM_CA",
            )];
        }
    };
    match probe(config, &upstream).await {
        Found::Accepts(answer) => {
            let mut checks = vec![
                passed(WHAT, "the provider accepts it for this tenant".into()),
                clock_of(&answer),
            ];
            checks.extend(trial::run(config, &upstream).await);
            checks
        }
        Found::Refuses(status) => vec![failed(WHAT, format!("the provider answered {status}"), REMEDY)],
        Found::Away(error) => vec![failed(
            "provider",
            error.to_string(),
            error.remedy().unwrap_or("check UPSTREAM and the way there"),
        )],
        Found::NoKey => vec![failed(
            WHAT,
            "there is none".into(),
            "set the provider's secret server key",
        )],
    }
}

/// The form of the secrets was judged with the settings: a wrong one is no configuration.
fn webhooks(config: &Config) -> Option<Check> {
    if !config.provider.has_webhooks() {
        return None;
    }
    let base = config.public_url.as_ref().map_or("PUBLIC_URL", url::Url::as_str);
    let endpoint = format!("{}/_usertap/webhooks", base.trim_end_matches('/'));
    let found = match config.webhook_secrets.len() {
        0 => "none are taken in: changes elsewhere show at the next read, backfill or reconcile".to_owned(),
        1 => format!("a signing secret of the right form; they are taken in at {endpoint}"),
        many => format!("{many} signing secrets of the right form; they are taken in at {endpoint}"),
    };
    let remedy = match config.webhook_secrets.is_empty() {
        true => format!("make an endpoint for {endpoint} in the provider's dashboard and set WEBHOOK_SECRET"),
        false => String::new(),
    };
    Some(Check {
        remedy,
        ..passed("webhooks", found)
    })
}

/// What a running `serve` says of itself: what only it can know, such as users set aside, a slot
/// that is behind or a journal that takes nothing.
async fn serving(config: &Config) -> Vec<Check> {
    const WHAT: &str = "serve";
    let at = config.admin_listen;
    let status = match serving::status(&StatusOptions::of(config, true)).await {
        Ok(status) => status,
        Err(Unasked::Nobody(_)) => {
            return vec![passed(
                WHAT,
                format!("none runs at ADMIN_LISTEN={at}: start it to be told its problems"),
            )];
        }
        Err(Unasked::Refused(error)) => return vec![failed(WHAT, error, "")],
    };
    if !is_of(config, &status) {
        return vec![failed(
            WHAT,
            format!("who answers at ADMIN_LISTEN={at} serves another tenant"),
            "give each its own ADMIN_LISTEN",
        )];
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let problems = status["problems"].as_array().into_iter().flatten();
    let problems: Vec<_> = problems
        .map(|problem| failed(WHAT, text(&problem["what"]), &text(&problem["remedy"])))
        .collect();
    match problems.is_empty() {
        true => vec![passed(WHAT, "runs, and has no problem".into())],
        false => problems,
    }
}

fn is_of(config: &Config, status: &Value) -> bool {
    let tenant = &config.tenant;
    let named = |(part, value): &(String, String)| status["provider"]["tenant"][part] == value.as_str();
    status["provider"]["name"] == tenant.provider.as_str() && tenant.identity.iter().all(named)
}

/// A clock that is off makes webhook signatures and token times look wrong.
fn clock_of(answer: &Fetched) -> Check {
    const WHAT: &str = "clock";
    let clocks = Clocks::of(&answer.headers, clock::wall());
    if clocks.provider.is_none() {
        return passed(WHAT, "the provider does not tell its time".into());
    }
    match clocks.ahead().num_seconds().abs() {
        0..=60 => passed(WHAT, "agrees with the provider's".into()),
        off => failed(
            WHAT,
            format!("{off} s away from the provider's"),
            "set this machine's clock (NTP)",
        ),
    }
}
