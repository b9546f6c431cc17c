//! What is wrong with the process, whichever of its tenants is asked.

use super::{Problem, problem};
use crate::config::Config;
use crate::station::left_behind;
use crate::{descriptors, telemetry};

pub(super) fn of_descriptors(config: &Config) -> Option<Problem> {
    let short = descriptors::too_few(config.beside.len() + 1).or_else(descriptors::short)?;
    Some(problem("descriptors-short", short.what, short.remedy))
}

/// What has ended does not begin again by itself.
pub(super) fn of_defects() -> Option<Problem> {
    let what = match telemetry::defects() {
        0 => return None,
        1 => "a task of usertap's was ended by a defect".to_owned(),
        seen => format!("{seen} tasks of usertap's were ended by a defect"),
    };
    let remedy =
        "restart usertap, which loses nothing, and report the line of its log that says where it was";
    Some(problem("defect", what, remedy))
}

pub(super) fn of_left_behind(config: &Config) -> impl Iterator<Item = Problem> {
    left_behind(config).into_iter().map(|folder| {
        problem(
            "journal-left",
            format!("a journal that nobody takes over waits in {}", folder.display()),
            "serve once with the settings under which it was written, until it is empty",
        )
    })
}
