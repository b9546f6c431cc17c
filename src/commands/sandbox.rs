//! `usertap sandbox`: a stand-in for the provider, until it is told to end.

use crate::cli::SandboxOptions;
use crate::sandbox::{Options, Plays, Sandbox};
use crate::serve::told_to_end;
use crate::station::StartError;
use crate::tasks::Tasks;

pub async fn run(options: SandboxOptions) -> Result<(), StartError> {
    let Some(plays) = Plays::parse(&options.provider) else {
        let played: Vec<_> = Plays::ALL.iter().map(|plays| plays.name()).collect();
        return Err(StartError(format!(
            "there is no sandbox for {}: use --provider {}",
            options.provider,
            played.join(" or ")
        )));
    };
    let told = told_to_end();
    let tasks = Tasks::default();
    let listen = options.listen;
    let sandbox = Options {
        plays,
        listen,
        users: options.users,
        rate: options.rate,
        latency: options.latency,
        projects: options.projects,
        webhooks: options.webhooks.clone(),
    };
    let sandbox = Sandbox::start(sandbox, &tasks).await.map_err(|error| {
        StartError(format!(
            "--listen {listen} cannot be listened on: {error}. Stop what uses it, or name another"
        ))
    })?;
    for (name, value) in (0..options.projects).flat_map(|project| sandbox.settings(project)) {
        println!("{name}={value}");
    }
    if let (Some(webhooks), Some(_)) = (sandbox.control().webhooks(0), &options.webhooks) {
        println!("USERTAP_WEBHOOK_SECRET={}", webhooks.secret());
    }
    println!("ready");
    told.await;
    tasks.stop();
    Ok(())
}
