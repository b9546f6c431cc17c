//! The table of providers claims nothing that no test shows: each cell stands here with the tests behind it,
//! and these exist.

use std::collections::{BTreeMap, BTreeSet};

use usertap::provider::Provider;

use super::text::{exists, file};

const COLUMNS: [&str; 7] = [
    "reads", "writes", "sign-ups", "deletes", "backfill", "webhooks", "polling",
];
/// Cells that claim nothing.
const NOTHING: [&str; 3] = ["elsewhere", "none", "no"];

const STACK_SERVER: &str = "tests/sdk/journeys/server.mjs";
const STACK_CLIENT: &str = "tests/sdk/journeys/client.mjs";
const CLERK_SDK: &str = "tests/sdk/clerk.test.mjs";
const CLERK: &str = "tests/it/clerk.rs";
const CLERK_TOLD: &str = "tests/it/clerk/told.rs";
const BETTER: &str = "tests/sdk/better-auth.test.mjs";
const WORKOS: &str = "tests/sdk/workos.test.mjs";
const SUPABASE: &str = "tests/sdk/supabase.test.mjs";
const AUTH0: &str = "tests/sdk/auth0.test.mjs";
const KEYCLOAK: &str = "tests/sdk/keycloak.test.mjs";
const KRATOS: &str = "tests/sdk/kratos.test.mjs";
const OKTA: &str = "tests/sdk/okta.test.mjs";
const LOGTO: &str = "tests/sdk/logto.test.mjs";
const SHAPES: &str = "tests/it/shapes.rs";
const WEBHOOKS: &str = "tests/it/shapes/webhooks.rs";
const SIGN_UPS: &str = "tests/it/shapes/sign_ups.rs";
const POLLING: &str = "tests/it/shapes/polling.rs";

/// Provider, column, file, and a test in it.
#[rustfmt::skip]
const TESTS: &[(&str, &str, &str, &str)] = &[
    ("stack-auth", "reads", STACK_SERVER, "server: read of a user whom nobody has read before"),
    ("stack-auth", "reads", STACK_SERVER, "server: list, page by page"),
    ("stack-auth", "writes", STACK_SERVER, "server: create"),
    ("stack-auth", "writes", STACK_SERVER, "server: update"),
    ("stack-auth", "sign-ups", STACK_CLIENT, "client: sign-up, and a foreign key to the new user at once"),
    ("stack-auth", "deletes", STACK_SERVER, "server: delete"),
    ("stack-auth", "backfill", "tests/it/processes/backfill.rs", "everyone_is_copied_and_a_second_walk_writes_nothing"),
    ("stack-auth", "webhooks", "tests/it/webhooks/order.rs", "what_happens_in_the_dashboard_is_in_the_table"),
    ("stack-auth", "webhooks", "tests/it/webhooks/recorded.rs", "every_recorded_event_tells_what_it_is_about"),
    ("clerk", "reads", CLERK_SDK, "getUserList, whose list and count go out together"),
    ("clerk", "writes", CLERK_SDK, "updateUser with metadata: a PATCH, then a PUT"),
    ("clerk", "deletes", CLERK_SDK, "deleteUser, and a read of whoever is gone: the same error as from the provider"),
    ("clerk", "backfill", CLERK_SDK, "after a backfill every row is the provider's user, and none is missing"),
    ("clerk", "backfill", CLERK, "a_backfill_gets_everyone_and_a_reconcile_what_nobody_told"),
    ("clerk", "webhooks", CLERK_TOLD, "a_newer_version_is_written_without_a_read_and_an_older_one_left_out"),
    ("clerk", "polling", CLERK_TOLD, "polling_brings_what_changed_elsewhere"),
    ("clerk", "polling", "tests/it/processes/polling.rs", "one_of_two_polls_and_the_other_goes_on_where_it_dies"),
    ("better-auth", "reads", BETTER, "reads and lists show what Better Auth shows, and bring whom nobody has seen"),
    ("better-auth", "writes", BETTER, "updates, roles and bans, whose ids stand in bodies"),
    ("better-auth", "sign-ups", BETTER, "a sign-up, by whoever shows nothing"),
    ("better-auth", "deletes", BETTER, "removeUser, and a read of whoever is gone"),
    ("better-auth", "backfill", BETTER, "a backfill of everyone who was there before"),
    ("better-auth", "polling", BETTER, "polling brings what is done within the app"),
    ("workos", "reads", WORKOS, "a list, and the pages after it"),
    ("workos", "writes", WORKOS, "create, read by id and by external id, update"),
    ("workos", "deletes", WORKOS, "delete, whose answer is empty, and a read of whoever is gone"),
    ("workos", "backfill", WORKOS, "a backfill over its cursors"),
    ("workos", "webhooks", WORKOS, "its webhooks bring what was done elsewhere"),
    ("workos", "webhooks", WEBHOOKS, "workos_signs_whole_users"),
    ("workos", "polling", WORKOS, "polling its events brings what was done elsewhere"),
    ("workos", "polling", POLLING, "events_are_read_in_order_and_on_behind_the_last_one_after_a_restart"),
    ("supabase", "reads", SUPABASE, "a list, page by page"),
    ("supabase", "writes", SUPABASE, "a server: create, read, update with metadata, ban, link, invitation"),
    ("supabase", "sign-ups", SUPABASE, "users themselves: sign up, read, update, refresh, sign out, sign in"),
    ("supabase", "deletes", SUPABASE, "deleted softly, then for good; whoever is gone, and an address that is taken"),
    ("supabase", "sign-ups", SIGN_UPS, "at_supabase_with_a_session_or_before_the_address_is_confirmed"),
    ("supabase", "webhooks", WEBHOOKS, "supabase_tells_of_rows_and_their_users_are_read"),
    ("auth0", "reads", AUTH0, "a list, the pages after it, and a search"),
    ("auth0", "writes", AUTH0, "create, read, update with metadata, block"),
    ("auth0", "sign-ups", AUTH0, "a sign-up, and who has a token"),
    ("auth0", "sign-ups", SIGN_UPS, "at_auth0_by_its_authentication_api"),
    ("auth0", "deletes", AUTH0, "delete, whoever is gone, and an address that is taken"),
    ("auth0", "backfill", "tests/it/shapes/walls.rs", "everyone_behind_the_wall_is_met_and_nothing_beyond_it_asked_for"),
    ("auth0", "webhooks", WEBHOOKS, "auth0_streams_whole_users_in_any_order"),
    ("auth0", "polling", POLLING, "whoever_changed_at_auth0_is_searched_for"),
    ("keycloak", "reads", KEYCLOAK, "a list, page by page, a count, and a search that shows less"),
    ("keycloak", "writes", KEYCLOAK, "create, whose answer is a Location, read, update with attributes, block, password, sign-out"),
    ("keycloak", "deletes", KEYCLOAK, "delete, whoever is gone, and a name that is taken"),
    ("kratos", "reads", KRATOS, "a list, the pages after it, and a search"),
    ("kratos", "writes", KRATOS, "create, read, update with metadata, patch, many at once"),
    ("kratos", "deletes", KRATOS, "delete, whoever is gone, and an address that is taken"),
    ("kratos", "reads", SHAPES, "kratos_without_a_key"),
    ("kratos", "writes", SHAPES, "kratos_without_a_key"),
    ("kratos", "deletes", SHAPES, "kratos_without_a_key"),
    ("kratos", "backfill", SHAPES, "kratos_without_a_key"),
    ("kratos", "sign-ups", SIGN_UPS, "at_kratos_by_its_registration_flow"),
    ("kratos", "webhooks", WEBHOOKS, "kratos_names_an_identity_by_a_body_of_ones_own"),
    ("okta", "reads", OKTA, "a list, the pages after it, which stay at usertap, and a search"),
    ("okta", "writes", OKTA, "create, read by id and by login, update, suspend"),
    ("okta", "deletes", OKTA, "deactivated, then deleted; whoever is gone, and a login that is taken"),
    ("okta", "webhooks", WEBHOOKS, "okta_makes_sure_of_the_hook_and_sends_batches_that_name_users"),
    ("okta", "polling", POLLING, "whoever_changed_at_okta_is_read_page_by_page_and_no_link_is_followed_elsewhere"),
    ("logto", "reads", LOGTO, "a list, page by page, and a search"),
    ("logto", "writes", LOGTO, "create, read, update, custom data, profile, password, suspend"),
    ("logto", "deletes", LOGTO, "delete, whoever is gone, and a name that is taken"),
    ("logto", "webhooks", WEBHOOKS, "logto_signs_the_body_alone_and_its_users_are_read"),
];

/// One walk for each of these providers shows four columns: list, create, read, update, delete, not found.
const JOURNEYS: [&str; 5] = ["supabase", "auth0", "keycloak", "okta", "logto"];
const OF_A_JOURNEY: [&str; 4] = ["reads", "writes", "deletes", "backfill"];

/// Provider and column, and what the cell says.
fn cells(readme: &str) -> BTreeMap<(String, String), String> {
    let head = format!("| provider | {} |", COLUMNS.join(" | "));
    let (_, table) = readme.split_once(&head).expect("the table of providers");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut cells = BTreeMap::new();
    for row in rows {
        let mut parts = row.trim_matches('|').split('|').map(str::trim);
        let provider = parts.next().expect("a name").trim_matches('`');
        let parts: Vec<&str> = parts.collect();
        assert_eq!(parts.len(), COLUMNS.len(), "{row}");
        for (column, cell) in COLUMNS.iter().zip(parts) {
            cells.insert((provider.to_owned(), (*column).to_owned()), cell.to_owned());
        }
    }
    cells
}

fn tests() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    let of = |provider: &'static str| OF_A_JOURNEY.map(|column| (provider, column, SHAPES, provider));
    let journeys = JOURNEYS.into_iter().flat_map(of);
    TESTS.iter().copied().chain(journeys).collect()
}

#[test]
fn every_cell_has_a_test_and_every_provider_a_row() {
    let cells = cells(&file("README.md"));
    let rows: BTreeSet<&str> = cells.keys().map(|(provider, _)| provider.as_str()).collect();
    assert_eq!(rows, Provider::builtin_names().collect());
    let shown: BTreeSet<(String, String)> = tests()
        .into_iter()
        .map(|(provider, column, ..)| (provider.to_owned(), column.to_owned()))
        .collect();
    for (cell, says) in &cells {
        let claims = !NOTHING.contains(&says.as_str());
        assert_eq!(claims, shown.contains(cell), "{cell:?} says {says:?}");
    }
    let told = |what: &str, has: fn(&Provider) -> bool| {
        for ((provider, column), says) in &cells {
            if column == what {
                let provider = Provider::builtin(provider).expect("a file without a mistake");
                assert_eq!(
                    has(&provider),
                    !NOTHING.contains(&says.as_str()),
                    "{what} of {}",
                    provider.name
                );
            }
        }
    };
    told("polling", Provider::can_be_polled);
    told("webhooks", Provider::has_webhooks);
}

#[test]
fn each_of_these_tests_is_there() {
    for (_, _, path, name) in tests() {
        assert!(exists(path), "{path}");
        let text = file(path);
        let is_there = text.contains(&format!("fn {name}()")) || text.contains(&format!("test(\"{name}\""));
        assert!(is_there, "{path} has no test {name}");
        let of_sdk = path.ends_with(".mjs");
        assert!(
            !of_sdk || file("tests/sdk/run").contains(".test.mjs"),
            "{path} is not run"
        );
    }
}

/// What drives a cell that says SDK is one, and the sandbox, emulator or real thing is what it says.
#[test]
fn what_is_said_to_be_driven_by_an_sdk_is() {
    for ((provider, column), says) in cells(&file("README.md")) {
        let tests: Vec<_> = tests()
            .into_iter()
            .filter(|(own, of, ..)| (*own, *of) == (provider.as_str(), column.as_str()))
            .collect();
        let by_sdk = tests.iter().any(|(_, _, path, _)| path.starts_with("tests/sdk/"));
        let by_shapes = tests
            .iter()
            .all(|(_, _, path, _)| path.starts_with("tests/it/shapes"));
        if says.contains("SDK") || says == "emulator" || says == "the real thing" {
            assert!(by_sdk, "{provider} {column}: {says}");
        }
        if !NOTHING.contains(&says.as_str()) {
            assert_eq!(says == "shapes", by_shapes, "{provider} {column}: {says}");
        }
    }
}
