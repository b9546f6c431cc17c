//! What is logged.

use tracing::Level;
use tracing_subscriber::filter::Targets;

use super::Parsed;

/// `info`, or `debug,hyper=info`: a bare level is usertap's own; other crates stay at `warn`
/// unless they are named, since below that they may log what usertap never would.
pub fn levels(text: &str) -> Parsed<Targets> {
    let mut targets = usertap_at(Level::INFO);
    for part in text.split(',').map(str::trim) {
        targets = match part.split_once('=') {
            None => at(targets, OURS, part)?.with_default(level(part)?.min(Level::WARN)),
            Some((target, level)) => at(targets, target.trim(), level.trim())?,
        };
    }
    Ok(targets)
}

const OURS: &str = "usertap";

/// It warns of what the other end of a connection does: whoever reaches a port has it write as many lines as they like.
const OF_ANYBODY: &str = "h2";

/// usertap at `level`, everything else at `warn`.
pub fn usertap_at(level: Level) -> Targets {
    Targets::new()
        .with_target(OURS, level)
        .with_target(OF_ANYBODY, Level::ERROR)
        .with_default(Level::WARN)
}

fn at(targets: Targets, target: &str, text: &str) -> Parsed<Targets> {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    match !target.is_empty() && target.chars().all(name) {
        true => Ok(targets.with_target(target, level(text)?)),
        false => Err(no_level()),
    }
}

fn level(text: &str) -> Parsed<Level> {
    text.parse().map_err(|_| no_level())
}

fn no_level() -> String {
    "is no level: write `error`, `warn`, `info`, `debug` or `trace`, or with names `debug,hyper=info`"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_crates_are_quiet_unless_named() {
        let debug = levels("debug").unwrap();
        assert!(debug.would_enable("usertap::proxy", &Level::DEBUG));
        assert!(!debug.would_enable("rustls", &Level::INFO) && debug.would_enable("rustls", &Level::WARN));
        assert!(!debug.would_enable("h2::proto", &Level::WARN));
        assert!(levels("h2=warn").unwrap().would_enable("h2::proto", &Level::WARN));
        let named = levels("usertap=debug, hyper=info").unwrap();
        assert!(named.would_enable("hyper", &Level::INFO) && named.would_enable("usertap", &Level::DEBUG));
        assert!(!levels("error").unwrap().would_enable("rustls", &Level::WARN));
        for wrong in [
            "",
            "inof",
            "usertap",
            "=debug",
            "usertap=loud",
            "info,",
            "a b=info",
        ] {
            assert!(levels(wrong).is_err(), "{wrong}");
        }
    }
}
