//! `usertap sandbox`: a stand-in for the provider, until it is told to end.

use crate::cli::SandboxOptions;
use crate::sandbox::{Deliveries, Options, Plays, Sandbox};
use crate::serve::told_to_end;
use crate::station::StartError;
use crate::tasks::Tasks;

pub async fn run(options: SandboxOptions) -> Result<(), StartError> {
    let told = told_to_end();
    let tasks = Tasks::default();
    let listen = options.listen;
    let sandbox = Options {
        plays: plays(options.provider),
        listen,
        users: options.users,
        rate: options.rate,
        latency: options.latency,
        projects: options.projects,
        webhooks: options.webhooks.clone(),
        deliveries: Deliveries {
            delay: options.webhook_delay,
            twice: options.webhook_twice,
            reordered: options.webhook_reorder,
        },
    };
    let sandbox = Sandbox::start(sandbox, &tasks).await.map_err(|error| {
        StartError(format!(
            "--listen {listen} cannot be listened on: {error}. Stop what uses it, or name another"
        ))
    })?;
    for (name, value) in (0..options.projects).flat_map(|project| sandbox.settings(project)) {
        say!("{name}={value}");
    }
    if let (Some(webhooks), Some(_)) = (sandbox.control().webhooks(0), &options.webhooks) {
        say!("USERTAP_WEBHOOK_SECRET={}", webhooks.secret());
    }
    say!("ready");
    told.await;
    tasks.stop();
    Ok(())
}

/// Of one of the names that the command line lets through, each of which has one.
pub fn plays(name: &'static str) -> Plays {
    Plays::parse(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::PLAYED;

    #[test]
    fn who_may_be_named_has_a_sandbox() {
        assert_eq!(PLAYED, Plays::ALL.map(Plays::name));
    }
}
