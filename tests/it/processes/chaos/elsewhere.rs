//! What happens past the apps: users whom somebody changes at the provider, of which webhooks tell late, twice and in
//! another order, to whichever replica; and their rows, which somebody changes with SQL meanwhile.

use serde_json::json;
use tokio::time::sleep;
use tokio_postgres::error::SqlState;
use usertap::sandbox::{Deliveries, Webhooks};
use uuid::Uuid;

use super::Chaos;
use super::dice::Dice;
use super::eyes::Eyes;

/// No lock is waited for longer: whoever has the table has it.
const PATIENCE: &str = "SET lock_timeout = '100ms'";

impl Chaos {
    pub fn webhooks(&self) -> Webhooks {
        self.world.control().webhooks(0).expect("a project")
    }

    /// To whoever listens there.
    pub fn mail_goes_to(&self, listen: &str) {
        self.webhooks()
            .send_to(&format!("http://{listen}/_usertap/webhooks"));
    }

    /// One that no app has made.
    pub fn one_elsewhere(&self, dice: &mut Dice) -> Option<Uuid> {
        let made = self.elsewhere.lock().expect("no panic");
        let many = made.len() as u64;
        (many > 0).then(|| made[dice.below(many) as usize])
    }
}

pub async fn at_the_provider(chaos: &Chaos, mut dice: Dice) {
    let control = chaos.world.control();
    let mut written = 0;
    while !chaos.is_over() {
        sleep(dice.millis(20, 150)).await;
        written += 1;
        let data = json!({ "display_name": format!("elsewhere {written}") });
        let one = chaos.one_elsewhere(&mut dice);
        let what = match (dice.below(10), one) {
            (0..3, _) | (_, None) => {
                let id = control.create(0, data).expect("a project");
                chaos.elsewhere.lock().expect("no panic").push(id);
                "created"
            }
            (3, Some(id)) => {
                control.delete(0, id);
                "deleted"
            }
            (_, Some(id)) => {
                control.edit(0, id, data);
                "changed"
            }
        };
        chaos.ledger.count(&format!("elsewhere: {what}"));
    }
}

pub async fn in_the_mail(chaos: &Chaos, mut dice: Dice) {
    let webhooks = chaos.webhooks();
    while !chaos.is_over() {
        if let Some(to) = chaos.any(&mut dice) {
            chaos.mail_goes_to(&to.listen);
        }
        webhooks.deliver(Deliveries {
            delay: dice.millis(0, 300),
            twice: dice.below(2) == 0,
            reordered: dice.below(2) == 0,
        });
        sleep(dice.millis(200, 1_000)).await;
    }
}

pub async fn by_hand(chaos: &Chaos, mut dice: Dice) {
    let hand = Eyes::new(&chaos.world.url, PATIENCE);
    while !chaos.is_over() {
        sleep(dice.millis(50, 400)).await;
        let Some(id) = chaos.one_elsewhere(&mut dice) else {
            continue;
        };
        if dice.below(4) == 0 {
            chaos.refers_to(id).await;
        }
        let (what, sql) = by(&mut dice, id);
        if what == "removed" {
            chaos.removed.lock().expect("no panic").insert(id);
        }
        let what = match hand.execute(&sql).await {
            Ok(()) => what,
            Err(error) => {
                assert_eq!(
                    error.code(),
                    Some(&SqlState::LOCK_NOT_AVAILABLE),
                    "{what}: {error}"
                );
                "not done, for a lock"
            }
        };
        chaos.ledger.count(&format!("by hand: {what}"));
    }
}

fn by(dice: &mut Dice, id: Uuid) -> (&'static str, String) {
    let set = |what: &str| format!("UPDATE neon_identity.users_sync SET {what} WHERE id = '{id}'");
    match dice.below(6) {
        0 => ("renamed", set("name = 'by hand'")),
        1 => ("emptied", set("raw_json = '{}'")),
        2 => ("hidden", set("deleted_at = now()")),
        3 => ("brought back", set("deleted_at = NULL")),
        4 => (
            "removed",
            format!("DELETE FROM neon_identity.users_sync WHERE id = '{id}'"),
        ),
        _ => (
            "made up",
            "INSERT INTO neon_identity.users_sync (id, name, raw_json) VALUES (gen_random_uuid(), 'by hand', '{}')"
                .to_owned(),
        ),
    }
}
