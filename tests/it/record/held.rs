//! Users whom another transaction holds: they are late, and nobody else.

use usertap::config::Deleted;
use usertap::record::{Checkpoint, Effect, Receipt, Recorded, Submission};
use usertap::user::UserId;
use uuid::Uuid;

use super::{LONG, Process, Rig, user, view};
use crate::support::eventually;

/// More than there are lanes to write with.
const MANY: u32 = 12;

/// A session of the operator's own that holds what it is told to.
struct Holder(tokio_postgres::Client);

impl Holder {
    async fn of(rig: &Rig, what: &str) -> Holder {
        let holder = Holder(rig.db.again().await.client);
        holder.run(&format!("BEGIN; {what}")).await;
        holder
    }

    async fn run(&self, statement: &str) {
        self.0.batch_execute(statement).await.expect("a statement");
    }

    async fn lets_go(self) {
        self.run("COMMIT").await;
    }
}

async fn is_written(receipt: Receipt) {
    let recorded = receipt.recorded(LONG).await;
    assert!(
        matches!(recorded, Recorded::Committed { position: Some(_) }),
        "{recorded:?}"
    );
}

fn renamed(rig: &Rig, id: &UserId, name: &str) -> Receipt {
    rig.submit(vec![rig.seen(id, view(id, name))])
}

/// A purge whose cascade is slow, somebody at a console.
#[tokio::test]
async fn a_user_whose_state_is_held_says_nothing_of_the_database() {
    let rig = Rig::new(Deleted::Keep).await;
    let held = user(1);
    rig.record(rig.seen(&held, view(&held, "A"))).await;
    let holder = rig.db.again().await;
    let hold = format!("BEGIN; SELECT FROM usertap.user_state WHERE id = '{held}' FOR UPDATE");
    holder.client.batch_execute(&hold).await.expect("a lock");
    let late = rig.submit(vec![rig.seen(&held, view(&held, "B"))]);
    let refused = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let before = rig.db.count(refused).await;
    let mut others = 1;
    while rig.db.count(refused).await < before + 3 {
        others += 1;
        let other = user(others);
        let recorded = rig.record(rig.seen(&other, view(&other, "A"))).await;
        assert!(
            matches!(recorded, Recorded::Committed { position: Some(_) }),
            "{recorded:?}"
        );
        assert_eq!(rig.recorder.figures().trouble, None);
    }
    holder.client.batch_execute("COMMIT").await.expect("an end");
    let late = late.recorded(LONG).await;
    assert!(
        matches!(late, Recorded::Committed { position: Some(_) }),
        "{late:?}"
    );
    assert_eq!(rig.row(&held).await.as_deref(), Some("B"));
    rig.end().await;
}

/// A long `UPDATE` of the operator's over the whole table, say.
#[tokio::test]
async fn however_many_users_are_held_nobody_else_waits() {
    for what in [
        "SELECT FROM neon_identity.users_sync FOR UPDATE",
        "SELECT FROM usertap.user_state FOR UPDATE",
    ] {
        let rig = Rig::new(Deleted::Keep).await;
        for n in 0..MANY {
            is_written(renamed(&rig, &user(n), "A")).await;
        }
        let holder = Holder::of(&rig, what).await;
        let late: Vec<Receipt> = (0..MANY).map(|n| renamed(&rig, &user(n), "B")).collect();
        // One after another: each has come by all that wait.
        for n in MANY..MANY * 4 {
            is_written(renamed(&rig, &user(n), "A")).await;
            assert_eq!(rig.recorder.figures().trouble, None);
        }
        assert_eq!(rig.row(&user(0)).await.as_deref(), Some("A"), "it is still held");
        holder.lets_go().await;
        for receipt in late {
            is_written(receipt).await;
        }
        assert_eq!(rig.row(&user(MANY - 1)).await.as_deref(), Some("B"));
        rig.end().await;
    }
}

#[tokio::test]
async fn of_a_list_only_who_is_held_waits_and_in_order() {
    let rig = Rig::new(Deleted::Keep).await;
    let (held, free) = (user(1), user(2));
    for id in [&held, &free] {
        is_written(renamed(&rig, id, "A")).await;
    }
    let hold = format!("SELECT FROM neon_identity.users_sync WHERE id = '{held}' FOR UPDATE");
    let holder = Holder::of(&rig, &hold).await;
    let list = [&held, &free].map(|id| rig.seen(id, view(id, "B")));
    let list = rig.submit(list.into());
    let after = renamed(&rig, &held, "C");
    eventually("who is free is written", || async {
        rig.row(&free).await.filter(|name| name == "B")
    })
    .await;
    // And changes again meanwhile.
    for name in ["C", "D", "E"] {
        is_written(renamed(&rig, &free, name)).await;
    }
    assert_eq!(rig.row(&held).await.as_deref(), Some("A"), "it is still held");
    holder.lets_go().await;
    is_written(list).await;
    // It came later and was sent before that was known: had it overtaken, it would be the row.
    let after = after.fared().await.expect("the recorder runs");
    assert_eq!(after.effects, [Effect::Older]);
    assert_eq!(rig.row(&held).await.as_deref(), Some("B"));
    assert_eq!(rig.row(&free).await.as_deref(), Some("E"));
    rig.end().await;
}

#[tokio::test]
async fn a_stop_waits_for_nobody_who_is_held() {
    let rig = Rig::new(Deleted::Keep).await;
    for n in 0..MANY {
        is_written(renamed(&rig, &user(n), "A")).await;
    }
    let holder = Holder::of(&rig, "SELECT FROM neon_identity.users_sync FOR UPDATE").await;
    let late: Vec<Receipt> = (0..MANY).map(|n| renamed(&rig, &user(n), "B")).collect();
    let behind = renamed(&rig, &user(0), "C");
    is_written(renamed(&rig, &user(MANY), "A")).await;
    let Process { recorder, tasks, .. } = rig.process;
    recorder.close();
    tasks.stop();
    assert!(tasks.ended(LONG).await, "it waits for those who are held");
    for receipt in late.into_iter().chain([behind]) {
        assert_eq!(receipt.fared().await, None);
    }
    holder.lets_go().await;
}

/// Two lanes have pages then: the one waits for the user, the other for the first page.
#[tokio::test]
async fn a_stop_waits_for_no_page_whose_user_is_held() {
    let rig = Rig::new(Deleted::Keep).await;
    is_written(renamed(&rig, &user(1), "A")).await;
    let holder = Holder::of(&rig, "SELECT FROM usertap.user_state FOR UPDATE").await;
    let page = |n: u32| {
        let checkpoint = Checkpoint {
            run: Uuid::nil(),
            owner: Uuid::nil(),
            state: n.to_string(),
            follows: None,
            fetched: 1,
            malformed: 0,
            done: false,
        };
        rig.recorder.submit(Submission {
            observations: vec![rig.seen(&user(n), view(&user(n), "B"))],
            checkpoint: Some(checkpoint),
        })
    };
    let pages = [page(1), page(2)];
    is_written(renamed(&rig, &user(3), "A")).await;
    let Process { recorder, tasks, .. } = rig.process;
    recorder.close();
    tasks.stop();
    assert!(tasks.ended(LONG).await, "it waits for the page");
    for receipt in pages {
        assert_eq!(receipt.fared().await, None);
    }
    holder.lets_go().await;
}
