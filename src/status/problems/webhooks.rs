//! What is wrong with the webhooks: none come, or what comes is refused or not understood.
//!
//! Anybody can post to their path. What must never be: a problem that a few requests of a stranger's
//! raise.

use super::{Problem, problem};
use crate::webhook::{Figures, Intake};

/// Attempts with a wrong signature, each minutes after the one before, that are more than a stranger's.
const WRONG: u64 = 3;
/// Deliveries in a row out of time, each rightly signed, after which it is more than one held back.
const UNTIMELY: u64 = 3;
/// Malformed ones, and meanwhile none that tells of a user, after which it is no odd event.
const MALFORMED: u64 = 10;
/// Another tenant's, and no others, while apps change users of ours often enough to be told of.
const FOREIGN: u64 = 10;
/// An endpoint that is given up by its sender, or was never set up, is silent for so long while apps
/// go on making changes that are told.
const SILENT: u64 = 6 * 3_600;
const WRITTEN: u64 = 20;

pub(super) fn of_webhooks(webhooks: &Figures) -> impl Iterator<Item = Problem> {
    let problems = [
        of_secret(webhooks),
        of_time(webhooks),
        of_form(webhooks),
        of_foreign(webhooks),
        of_silence(webhooks),
    ];
    problems.into_iter().flatten()
}

fn of_secret(webhooks: &Figures) -> Option<Problem> {
    (webhooks.wrong_attempts >= WRONG).then(|| {
        problem(
            "webhooks-refused",
            format!(
                "none of the last {} webhooks was signed with WEBHOOK_SECRET: they came over minutes, and none that was right",
                webhooks.wrong_in_a_row
            ),
            "set WEBHOOK_SECRET to the signing secret of this very endpoint; while it changes, both, separated by a comma; where \
             the provider sends none (its dashboard lists them), they are a stranger's, and nothing is to be done",
        )
    })
}

fn of_time(webhooks: &Figures) -> Option<Problem> {
    let by = webhooks
        .untimely_by
        .filter(|_| webhooks.untimely_in_a_row >= UNTIMELY)?;
    let (by, side) = match by {
        0.. => (by, "ahead of"),
        _ => (-by, "behind"),
    };
    Some(problem(
        "webhooks-untimely",
        format!(
            "the last {} webhooks were rightly signed, and refused: their time is {} minutes {side} this machine's clock",
            webhooks.untimely_in_a_row,
            by / 60
        ),
        "set this machine's clock, by NTP; where it is right, they are held back on their way here",
    ))
}

fn of_form(webhooks: &Figures) -> Option<Problem> {
    (webhooks.malformed_in_a_row >= MALFORMED).then(|| {
        problem(
            "webhooks-malformed",
            format!(
                "{} webhooks were rightly signed and are not what the provider's file says, and none since then told of a user",
                webhooks.malformed_in_a_row
            ),
            "check what the endpoint sends against [events] and [[event]] in the provider's file; of a built-in one, run a newer \
             usertap or report this",
        )
    })
}

fn of_foreign(webhooks: &Figures) -> Option<Problem> {
    let is_alone = webhooks.foreign == webhooks.received && webhooks.foreign >= FOREIGN;
    (is_alone && webhooks.written >= WRITTEN).then(|| {
        problem(
            "webhooks-foreign",
            format!(
                "all {} webhooks since the start were rightly signed and name another tenant, and apps changed users of this one \
                 {} times",
                webhooks.foreign, webhooks.written
            ),
            "check the settings that name the tenant against what the webhooks name where [events] of the provider's file has \
             `tenant`, and that this tenant's webhooks are sent here",
        )
    })
}

fn of_silence(webhooks: &Figures) -> Option<Problem> {
    let is_silent = webhooks.silent_for >= SILENT && webhooks.written_meanwhile >= WRITTEN;
    let hours = webhooks.silent_for / 3_600;
    let written = webhooks.written_meanwhile;
    is_silent.then(|| match webhooks.refused_in_a_row {
        0 => problem(
            "webhooks-silent",
            format!("no webhook has come for {hours} hours, in which apps changed users {written} times"),
            "check in the provider's dashboard that the endpoint is enabled and leads to PUBLIC_URL/_usertap/webhooks",
        ),
        refused => problem(
            "webhooks-silent",
            format!(
                "no webhook has been taken in for {hours} hours, in which apps changed users {written} times and {refused} \
                 were refused"
            ),
            "the status says why under webhooks.refused: check WEBHOOK_SECRET and this machine's clock, and in the provider's \
             dashboard that the endpoint is enabled",
        ),
    })
}

pub(super) fn of_unkept(intake: &Intake) -> Option<Problem> {
    intake.has_unkept().then(|| {
        problem(
            "webhooks-unkept",
            "webhooks are taken in by a signing secret that only this process knows, as the console subscribed them",
            "set WEBHOOK_SECRET to the secret that the console showed, and start usertap anew",
        )
    })
}
