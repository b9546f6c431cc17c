//! The same command where the settings file has several tenants.

use std::collections::BTreeMap;

use clap::ArgMatches;

use super::{Chosen, Command, command};
use crate::config::{Known, Mistake, Place, Sources, settings, tenants};

/// `serve` is for all of them; every other command for one.
pub(super) fn command_for(
    name: &str,
    matches: &ArgMatches,
    sources: &Sources<'_>,
    chosen: Chosen,
    mut mistakes: Vec<Mistake>,
) -> Result<Command, Vec<Mistake>> {
    let names: Vec<&str> = chosen.iter().filter_map(|(name, _)| name.as_deref()).collect();
    if name != "serve" && chosen.len() > 1 {
        let text = format!(
            "is missing: the settings file has several tenants; write one of {}",
            names.join(", ")
        );
        mistakes.push(Mistake::new("--tenant", None, text));
        return Err(mistakes);
    }
    mistakes.extend(tenants::nobodys(sources.env, &names));
    let (mut serving, mut only) = (Vec::new(), None);
    for (tenant, file) in chosen {
        let tenant = tenant.unwrap_or_default();
        let (read, wrong) = of_one(name, matches, sources, (&tenant, file));
        mistakes.extend(wrong);
        match read.map(|command| command.of_tenant(&tenant)) {
            Some(Command::Serve(configs)) => serving.extend(configs),
            other => only = other.or(only),
        }
    }
    mistakes.extend(tenants::apart(&serving));
    tenants::beside(&mut serving);
    // What stands above all of them is wrong for each.
    let mut told = Vec::new();
    for mistake in mistakes {
        if !told.contains(&mistake) {
            told.push(mistake);
        }
    }
    let mistakes = told;
    match only {
        _ if !mistakes.is_empty() => Err(mistakes),
        Some(command) => Ok(command),
        None => Ok(Command::Serve(serving)),
    }
}

fn of_one(
    name: &str,
    matches: &ArgMatches,
    sources: &Sources<'_>,
    (tenant, file): (&str, crate::config::File),
) -> (Option<Command>, Vec<Mistake>) {
    let provider = settings::provider(&Sources {
        file: file.clone(),
        env: sources.env,
        flags: sources.flags.clone(),
        read: sources.read,
    });
    let (_, known, _) = settings::names(provider.0.as_ref());
    let is_alone = |key: &str| {
        let key = key.strip_suffix("_file").unwrap_or(key);
        known
            .iter()
            .any(|known| known.key() == key && tenants::is_alone(known))
    };
    let (file, mut mistakes) = file.without_shared(is_alone);
    let env = tenants::environment(sources.env, tenant, &file, &known);
    let (flags, wrong) = flags_of_all(&sources.flags, &known);
    mistakes.extend(wrong);
    let warnings = tenants::passed_over(sources.env, (tenant, &env), &file, &known);
    let own = Sources {
        file,
        env: &env,
        flags,
        read: sources.read,
    };
    match command(name, matches, own, mistakes) {
        Ok(command) => (Some(command.warning(warnings)), Vec::new()),
        Err(mistakes) => (
            None,
            mistakes
                .into_iter()
                .map(|mistake| tenants::told(mistake, tenant, (sources.env, &known)))
                .collect(),
        ),
    }
}

/// A flag is for every tenant.
fn flags_of_all(
    flags: &BTreeMap<String, String>,
    known: &[Known],
) -> (BTreeMap<String, String>, Vec<Mistake>) {
    let is_alone = |flag: &str| {
        known
            .iter()
            .any(|known| known.flag() == flag && tenants::is_alone(known))
    };
    let (alone, all): (BTreeMap<_, _>, BTreeMap<_, _>) =
        flags.clone().into_iter().partition(|(flag, _)| is_alone(flag));
    let wrong = alone.into_keys().map(|flag| {
        let place = Some(Place::Flag(flag.clone()));
        Mistake::new(
            &flag,
            place,
            "is of one tenant alone: write it below its [[tenant]]",
        )
    });
    (all, wrong.collect())
}
