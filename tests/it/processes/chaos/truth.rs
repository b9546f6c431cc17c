//! Once all is well again: the provider, the table and the changes replayed say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use usertap::sandbox::Deliveries;
use uuid::Uuid;

use super::climate::Deleted;
use super::consumers::Consumer;
use super::{Chaos, SCHEMA, neighbour};
use crate::processes::Server;
use crate::support::http;
use crate::support::now;
use crate::support::stack::at_rest::{self, Row};
use crate::support::stack::replay::Copy;

/// What was under way is carried out, read again and written.
const REST: Duration = Duration::from_secs(120);

pub async fn holds(chaos: &Chaos, consumers: Vec<Consumer>) {
    let (mut servers, mut doors) = (Vec::new(), Vec::new());
    for process in chaos.one_a_folder() {
        let to = chaos.serves(&process).await;
        doors.push(to.clone());
        servers.push(Server {
            process,
            listen: to.listen,
            admin: to.admin,
        });
    }
    chaos.webhooks().deliver(Deliveries::default());
    chaos.mail_goes_to(&servers[0].listen);
    comes_to_rest(chaos, &servers).await;
    let table = chaos.rows_of(SCHEMA).await;
    against_the_provider(chaos, &table);
    let mut wrong = chaos.todos_lost().await;
    for consumer in consumers {
        wrong.extend(consumer.ends(chaos, &doors[0]).await);
    }
    if let Some(door) = &doors[0].neighbour {
        wrong.extend(neighbour::wrong(chaos, door).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for server in &servers {
        replayed(chaos, server, &table).await;
    }
    let account = chaos
        .starts(&["reconcile", "--json"], &chaos.seats[0].settings)
        .ended()
        .await
        .with_code(0)
        .json();
    report(chaos, &table, &account);
    assert_eq!(account["drift"]["changed"], 0, "{account}");
    assert_eq!(account["drift"]["deleted"], 0, "{account}");
    assert_eq!(
        account["drift"]["created"], 0,
        "a write whose answer never came was not found: {account}"
    );
    for server in servers {
        let log = server.stop().await.log();
        assert!(
            !log.contains("a defect of usertap") && !log.contains("are damaged"),
            "{log}"
        );
    }
}

async fn comes_to_rest(chaos: &Chaos, servers: &[Server]) {
    let deadline = now() + REST;
    loop {
        let left = left(chaos, servers).await;
        if left.is_empty() {
            return;
        }
        assert!(now() < deadline, "no rest within {REST:?}: {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is still to be done.
async fn left(chaos: &Chaos, servers: &[Server]) -> Vec<String> {
    let mut left = Vec::new();
    let pending = chaos.webhooks().pending();
    if pending > 0 {
        left.push(format!("{pending} webhooks"));
    }
    for server in servers {
        let recorder = server.status().await["recorder"].clone();
        let figures = [
            &recorder["waiting"],
            &recorder["journal"]["waiting"],
            &recorder["writes"]["open"],
        ];
        if figures.iter().any(|figure| **figure != 0) {
            left.push(recorder.to_string());
        }
    }
    let to_be_removed = match chaos.climate.deleted != Deleted::Stay {
        true => "neon_identity.users_sync WHERE deleted_at IS NOT NULL",
        false => "neon_identity.users_sync WHERE false",
    };
    for table in [
        to_be_removed,
        "usertap.user_state WHERE doubt IS NOT NULL",
        "usertap.set_aside",
        "usertap.sql_changes",
        "usertap.backfill WHERE state IN ('requested', 'running')",
    ] {
        let count = chaos.count(&format!("SELECT count(*) FROM {table}")).await;
        if count > 0 {
            left.push(format!("{count} in {table}"));
        }
    }
    if chaos.climate.has_neighbour {
        left.extend(neighbour::left(chaos).await);
    }
    left
}

fn against_the_provider(chaos: &Chaos, table: &[Row]) {
    let control = chaos.world.control();
    let rows: BTreeMap<Uuid, &Row> = table.iter().map(|row| (row.id, row)).collect();
    let mut wrong = Vec::new();
    let everyone: BTreeSet<Uuid> = chaos
        .ledger
        .all_told()
        .into_iter()
        .chain(rows.keys().copied())
        .collect();
    for id in everyone {
        let (row, user) = (rows.get(&id).copied(), control.server_view(0, id));
        wrong.extend(at_rest::agree(id, row, user.as_ref()).err());
    }
    assert!(
        wrong.is_empty(),
        "{} users are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

async fn replayed(chaos: &Chaos, server: &Server, table: &[Row]) {
    let mut copy = Copy::default();
    let page = async |path: &str| -> Value {
        http::get(&format!("http://{}{path}", server.admin), &[])
            .await
            .json()
    };
    copy.follow("oldest", 500, page).await;
    let wrong = copy.differences(table.to_vec());
    let wrong = wrong.join("\n");
    if !wrong.is_empty() {
        let told = told_of(chaos, &wrong).await;
        panic!("the changes rebuild another table:\n{wrong}\n{told}");
    }
}

/// The changes of everybody whose id stands in a text.
async fn told_of(chaos: &Chaos, text: &str) -> String {
    let told = format!(
        "SELECT string_agg(concat_ws(' ', id, position, type, origin, name, deleted_at, committed_at, request_id), E'\\n' ORDER BY id, position)
         FROM usertap.changes WHERE strpos($told${text}$told$, id) > 0"
    );
    let told = chaos.eyes.row(&told).await.expect("a row");
    told.get::<_, Option<String>>(0).unwrap_or_default()
}

fn report(chaos: &Chaos, table: &[Row], account: &Value) {
    let ledger = &chaos.ledger;
    for (what, count) in ledger.counts() {
        println!("chaos: {count:>7} {what}");
    }
    println!(
        "chaos: {} kills, {} faults, {} cuts and stalls, {} answers, {} users told of, {} rows compared, drift {}",
        ledger.total("kills"),
        ledger.total("faults"),
        ledger.total("ways") + ledger.total("database"),
        ledger.total("answers "),
        ledger.all_told().len(),
        table.len(),
        account["drift"],
    );
}
