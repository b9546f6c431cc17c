//! What goes wrong around usertap.

use std::time::Duration;

use ::http::Method;
use tokio::time::sleep;
use usertap::sandbox::{Action, Canned, Fault};

use super::climate::Ground;
use super::dice::Dice;
use super::eyes::Eyes;
use super::{Chaos, Seat};
use crate::support::http;
use crate::support::now;

/// Some of what comes to the provider meets a fault.
pub async fn at_the_provider(chaos: &Chaos, mut dice: Dice) {
    let control = chaos.world.control();
    while !chaos.is_over() {
        sleep(dice.millis(20, 200)).await;
        chaos.lull_passes().await;
        if control.faults_left() > 0 {
            continue;
        }
        let (what, action) = fault(&mut dice);
        control.fault(Fault::on("/users", action));
        chaos.ledger.count(&format!("faults: {what}"));
    }
    control.forget_faults();
}

fn fault(dice: &mut Dice) -> (&'static str, Action) {
    match dice.below(10) {
        0 => ("500", Action::Reject(Canned::new(500, "{}"))),
        1 => (
            "503",
            Action::Reject(Canned::new(503, "").header("retry-after", "1")),
        ),
        2 => ("dropped", Action::Drop),
        3 | 4 => ("done, then dropped", Action::PerformThenDrop),
        5 => ("done, then 500", Action::PerformThen(Canned::new(500, "{}"))),
        6 | 7 => ("late", Action::Delay(dice.millis(20, 400))),
        8 => ("cut", Action::Cut(40)),
        _ => ("no JSON", Action::Body("{\"id\": ".into())),
    }
}

/// For a while all that comes to the provider meets the same.
pub async fn fronts(chaos: &Chaos, mut dice: Dice) {
    let control = chaos.world.control();
    while !chaos.is_over() {
        sleep(dice.millis(2_000, 8_000)).await;
        chaos.lull_passes().await;
        let until = now() + dice.millis(200, 1_500);
        let (what, fault) = front(&mut dice);
        let at_once = if what == "silence" { 1 } else { AT_ONCE };
        while now() < until {
            (control.faults_left()..at_once).for_each(|_| control.fault(fault.clone()));
            sleep(Duration::from_millis(5)).await;
        }
        control.forget_faults();
        chaos.ledger.count(&format!("faults: a front of {what}"));
    }
}

/// More than come in between two looks.
const AT_ONCE: usize = 16;

fn front(dice: &mut Dice) -> (&'static str, Fault) {
    let refused = |status| Canned::new(status, "{}").header("retry-after", "1");
    match dice.below(5) {
        0 | 1 => ("429", Fault::on("/", Action::Reject(refused(429)))),
        2 => ("503", Fault::on("/", Action::Reject(refused(503)))),
        3 => ("500", Fault::on("/", Action::Reject(Canned::new(500, "{}")))),
        // Longer than anybody waits. A write that hangs so long could still be carried out when all is well again.
        _ => {
            let hangs = Fault::on("/", Action::Delay(Duration::from_secs(10)));
            ("silence", hangs.method(Method::GET))
        }
    }
}

/// The way from one replica to the database.
pub async fn on_the_way(chaos: &Chaos, place: usize, mut dice: Dice) {
    let seat: &Seat = &chaos.seats[place];
    while !chaos.is_over() {
        seat.relay.open();
        sleep(dice.millis(800, 3_500)).await;
        chaos.lull_passes().await;
        let what = match dice.below(5) {
            0 => {
                seat.relay.close();
                "cut"
            }
            2 => {
                seat.relay.freeze();
                "frozen"
            }
            3 => {
                seat.relay.forget();
                "forgotten"
            }
            1 => {
                seat.relay.silence();
                "stalled"
            }
            _ => {
                seat.relay.slow(Duration::from_millis(5));
                "slow"
            }
        };
        chaos.ledger.count(&format!("ways to the database: {what}"));
        sleep(dice.millis(50, 700)).await;
    }
    seat.relay.open();
}

/// Sessions are ended and the users' table is locked.
pub async fn in_the_database(chaos: &Chaos, mut dice: Dice) {
    let admin = Eyes::new(&chaos.world.url, "");
    while !chaos.is_over() {
        sleep(dice.millis(300, 1_500)).await;
        chaos.lull_passes().await;
        // A commit that waits for a standby is not undone with its session.
        if dice.below(2) == 0 && chaos.climate.ground != Ground::Pair {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND query NOT LIKE 'SELECT name FROM%'
                  AND random() < 0.5 AND backend_type = 'client backend' AND client_port > 0
                  AND query ~ 'usertap'";
            admin.rows(end).await;
            chaos.ledger.count("database: sessions ended");
        } else {
            let lock = format!(
                "BEGIN; LOCK TABLE neon_identity.users_sync IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({}); ROLLBACK",
                dice.millis(50, 600).as_secs_f64()
            );
            admin.execute(&lock).await.expect("a lock");
            chaos.ledger.count("database: table locked");
        }
    }
}

/// Somebody asks for walks.
pub async fn walks(chaos: &Chaos, mut dice: Dice) {
    while !chaos.is_over() {
        sleep(dice.millis(500, 2_500)).await;
        let kind = if dice.below(2) == 0 {
            "backfill"
        } else {
            "reconcile"
        };
        if let Some(to) = chaos.any(&mut dice) {
            let url = format!("http://{}/v1/{kind}", to.admin);
            let asked =
                http::request(Method::POST, &url, &[("content-type", "application/json")], "{}").await;
            chaos.ledger.count(if asked.is_ok() {
                "walks asked for"
            } else {
                "walks not heard"
            });
        }
    }
}
