//! Commands and flags, with the help that explains them. The flags of the settings come from
//! their table.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::Known;

/// The whole command line, with the settings that count.
pub fn command(known: &[Known]) -> Command {
    Command::new("usertap")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A proxy that keeps your auth provider's users in your own Postgres")
        .long_about(
            "A proxy between your app and its auth provider's user API. The rows of users that pass are in \
             your own Postgres (`neon_identity.users_sync`) before the app gets its answer.",
        )
        .after_help("Try it with nothing configured: usertap demo")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve(known))
        .subcommand(with_json(quiet(backfill(), known)))
        .subcommand(with_json(quiet(reconcile(), known)))
        .subcommand(with_json(quiet(status(), known)))
        .subcommand(quiet(feed(), known))
        .subcommand(with_json(quiet(doctor(), known)))
        .subcommand(quiet(migrate(), known))
        .subcommand(sandbox(known))
        .subcommand(demo(known))
}

fn serve(known: &[Known]) -> Command {
    let about = "The proxy: forwards to the provider and keeps its users; migrates the database first";
    let command = example(
        "serve",
        about,
        "DATABASE_URL=postgres://… STACK_PROJECT_ID=… STACK_SECRET_SERVER_KEY=… usertap serve",
    )
    .before_help(
        "Every setting can stand in usertap.toml (`listen = \"127.0.0.1:8400\"`), over it in the \
             environment, over it as a flag. NAME_FILE in the environment reads a value from a file.",
    );
    settings(command.arg(config()).arg(tenant()), known, false)
}

fn backfill() -> Command {
    let about = "Copies every user of the provider into the database; resumes where it stopped";
    example("backfill", about, "usertap backfill --json")
}

fn reconcile() -> Command {
    let about = "A backfill that also finds missed deletions, each confirmed by a read of that user, and tells the drift";
    let yes = Arg::new("yes").long("yes").action(ArgAction::SetTrue).help(
        "Hold no deletion back: without it they stop at 10, or 1 % of the rows where that is more, an hour",
    );
    example("reconcile", about, "usertap reconcile --json").arg(yes)
}

fn status() -> Command {
    let about = "What a running `serve` says of itself; exit code 0 healthy, 1 not";
    example("status", about, "usertap status --admin-listen 127.0.0.1:8401")
}

fn feed() -> Command {
    let about = "Prints the change feed of a running `serve`, one JSON object a line";
    let follow = Arg::new("follow")
        .long("follow")
        .action(ArgAction::SetTrue)
        .help("Go on with what comes, and on again where the connection breaks");
    example("feed", about, "usertap feed --since now --follow")
        .arg(option(
            "since",
            "POS",
            "oldest",
            "Begin after this position; or `oldest`, or `now`",
        ))
        .arg(follow)
}

fn doctor() -> Command {
    let about = "Checks settings, database rights, provider key and reachability, each with its remedy";
    example("doctor", about, "usertap doctor --config usertap.toml")
}

fn migrate() -> Command {
    let about = "Only the migrations, e.g. before a `serve` with MIGRATE=off";
    let publication = Arg::new("publication")
        .long("publication")
        .value_name("NAME")
        .help("Also publish the users as NAME and the changes as NAME_changes, for logical replication");
    example(
        "migrate",
        about,
        "DATABASE_URL=postgres://… STACK_PROJECT_ID=… usertap migrate",
    )
    .arg(publication)
}

fn sandbox(known: &[Known]) -> Command {
    let about = "A stand-in for the provider's user API on loopback, to try and test without an account";
    let own = [
        option(
            "provider",
            "NAME",
            "stack-auth",
            "Which provider to stand in for: `stack-auth` or `clerk`",
        ),
        option("users", "N", "10", "How many users there are in all"),
        option(
            "listen",
            "ADDRESS",
            "127.0.0.1:8403",
            "Where it listens; port 0 takes a free one",
        ),
        Arg::new("rate")
            .long("rate")
            .value_name("RATE")
            .help("Answer 429 beyond it, e.g. `100/10s` [default: no limit]"),
        option("latency", "DURATION", "0", "Delay of every answer, e.g. `20ms`"),
        option(
            "projects",
            "N",
            "1",
            "With `2`: a second project, its settings printed with OTHER_ before each name",
        ),
        Arg::new("webhooks").long("webhooks").value_name("URL").help(
            "Send the first project's webhooks there, e.g. `http://127.0.0.1:8400/_usertap/webhooks`, and print their \
             secret",
        ),
        option("webhook-delay", "DURATION", "0", "How late each webhook is sent, e.g. `2s`"),
        Arg::new("webhook-twice")
            .long("webhook-twice")
            .action(ArgAction::SetTrue)
            .help("Send every webhook twice"),
        Arg::new("webhook-reorder")
            .long("webhook-reorder")
            .action(ArgAction::SetTrue)
            .help("Send every other webhook a second later, behind the one after it"),
    ];
    let command = example("sandbox", about, "usertap sandbox --users 1000 --rate 100/10s").args(own);
    command.args(own_settings(known, &["LOG", "LOG_FORMAT"]))
}

fn demo(known: &[Known]) -> Command {
    let about = "All of it together with nothing to configure: a Postgres, a sandbox, the proxy, a backfill";
    let exit = Arg::new("exit")
        .long("exit")
        .action(ArgAction::SetTrue)
        .help("End after the demonstration instead of going on to serve");
    let respected = [
        "DATA_DIR",
        "PG_BIN",
        "LISTEN",
        "PORT",
        "ADMIN_LISTEN",
        "ADMIN_TOKEN",
        "TRUSTED_PROXIES",
        "LOG",
        "LOG_FORMAT",
    ];
    let provider = option(
        "provider",
        "NAME",
        "stack-auth",
        "Which provider the sandbox stands in for: `stack-auth` or `clerk`",
    );
    example("demo", about, "usertap demo --exit")
        .arg(provider)
        .arg(exit)
        .args(own_settings(known, &respected))
}

fn example(name: &'static str, about: &'static str, example: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .after_help(format!("Example: {example}"))
}

fn option(name: &'static str, value: &'static str, default: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name(value);
    arg.default_value(default).help(help)
}

fn config() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("The settings file, which must exist [default: ./usertap.toml where there is one]")
}

fn tenant() -> Arg {
    Arg::new("tenant")
        .long("tenant")
        .value_name("NAME")
        .help("Which of several tenants in the settings file; `serve` takes all of them")
}

fn with_json(command: Command) -> Command {
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
    command.arg(json.help("Print one JSON object as the last line"))
}

/// Whether a switch is on; a command that has no such switch has it off.
pub fn is_on(matches: &ArgMatches, switch: &str) -> bool {
    matches!(matches.try_get_one::<bool>(switch), Ok(Some(true)))
}

/// All settings as flags that help does not list again.
fn quiet(command: Command, known: &[Known]) -> Command {
    let command = command.before_help("It takes the settings of `serve`: see `usertap serve -h`.");
    settings(command.arg(config()).arg(tenant()), known, true)
}

fn settings(command: Command, known: &[Known], hidden: bool) -> Command {
    let flags = known.iter().map(|known| setting(known).hide(hidden));
    command.args(flags)
}

fn own_settings(known: &[Known], names: &[&str]) -> Vec<Arg> {
    let wanted = known.iter().filter(|known| names.contains(&known.name.as_str()));
    wanted.map(setting).collect()
}

fn setting(known: &Known) -> Arg {
    let help = format!(
        "{} [default: {}] [env: {}]",
        known.help,
        known.default,
        known.env.join(", ")
    );
    Arg::new(known.flag())
        .long(known.flag())
        .value_name(known.value.clone())
        .help_heading(known.group.clone())
        // A key may start with a hyphen; taken for a flag, it would be printed.
        .allow_hyphen_values(known.secret)
        .help(help)
}

/// What was given for settings, by flag.
pub fn flags(matches: &ArgMatches, known: &[Known]) -> BTreeMap<String, String> {
    let names = known.iter().map(Known::flag);
    let given = |name: &String| {
        let value = matches.try_get_one::<String>(name).ok().flatten()?;
        let typed = matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine);
        typed.then(|| value.clone())
    };
    names
        .filter_map(|name| Some((name.clone(), given(&name)?)))
        .collect()
}
