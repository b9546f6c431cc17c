//! Names that no setting has: typing errors must not pass in silence.

use super::known::{self, Known};
use super::mistake::{Mistake, Place};
use super::sources::Sources;
use super::table::PREFIX;

/// Names that no setting has. Without a provider the file's keys may be the provider's.
pub(super) fn unknown(sources: &Sources<'_>, known: &[Known], provider: bool) -> Vec<Mistake> {
    let ours = sources.env.keys().filter(|name| name.starts_with(PREFIX));
    let in_env = ours
        .filter(|name| !known.iter().any(|known| is_variable(known, name)))
        .map(|name| refuse(known, name, Place::Env(name.clone()), |k| k.env().to_owned()));
    let keys = sources.file.keys();
    let in_file = keys
        .filter(|(key, _)| provider && !known.iter().any(|known| is_key(known, key)))
        .map(|(key, place)| refuse(known, key, place, Known::key));
    in_env.chain(in_file).collect()
}

fn is_variable(known: &Known, name: &str) -> bool {
    let bare = name.strip_suffix("_FILE");
    known
        .env
        .iter()
        .any(|env| env == name || Some(env.as_str()) == bare)
}

fn is_key(known: &Known, name: &str) -> bool {
    let key = known.key();
    key == name || Some(key.as_str()) == name.strip_suffix("_file")
}

fn refuse(known: &[Known], name: &str, place: Place, form: impl Fn(&Known) -> String) -> Mistake {
    let text = match known::nearest(known, name) {
        Some(meant) => format!("there is no such setting: did you mean `{}`?", form(meant)),
        None => "there is no such setting: take it out; `usertap serve -h` lists all there are".to_owned(),
    };
    Mistake::new(name, Some(place), text)
}
