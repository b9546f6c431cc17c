//! Pages of a walk: how it moves, and what an initial copy writes, which is not looked up before.

use chrono::{TimeZone, Utc};
use usertap::config::Deleted;
use usertap::record::{Checkpoint, Effect, Fared, Submission};
use usertap::user::{Observation, Seen, Source};
use uuid::Uuid;

use super::{Rig, altered, user, view};

/// A run that is under way.
struct Walk<'r> {
    rig: &'r Rig,
    run: Uuid,
    owner: Uuid,
}

impl<'r> Walk<'r> {
    async fn begun(rig: &'r Rig) -> Walk<'r> {
        let (run, owner) = (Uuid::new_v4(), Uuid::new_v4());
        let begun = format!(
            "INSERT INTO usertap.backfill (run, state, owner) VALUES ('{run}', 'running', '{owner}')"
        );
        rig.db.client.batch_execute(&begun).await.expect("a run");
        Walk { rig, run, owner }
    }

    /// Its `n`th page of three, with these users.
    async fn page(&self, n: u32, follows: Option<u32>, users: &[u32]) -> Fared {
        let state = |n: u32| format!("{{\"pages\": {n}}}");
        let seen = |n: &u32| self.rig.seen(&user(*n), view(&user(*n), "A"));
        let page = Submission {
            observations: users.iter().map(seen).collect(),
            checkpoint: Some(Checkpoint {
                run: self.run,
                owner: self.owner,
                state: state(n),
                follows: follows.map(state),
                fetched: users.len() as u64,
                malformed: 0,
                done: n == 3,
            }),
        };
        let fared = self.rig.recorder.submit(page).fared().await;
        fared.expect("the recorder runs")
    }

    async fn is_kept(&self, n: u32, follows: Option<u32>) -> bool {
        self.page(n, follows, &[n]).await.checkpoint_kept
    }
}

const ACCOUNT: &str =
    "SELECT concat_ws(' ', state, checkpoint->>'pages', fetched, inserted, updated, unchanged)
    FROM usertap.backfill";

/// A walk would go on behind a page that was never taken.
#[tokio::test]
async fn a_page_whose_predecessor_was_not_taken_moves_no_walk() {
    let rig = Rig::new(Deleted::Keep).await;
    let walk = Walk::begun(&rig).await;
    assert!(walk.is_kept(1, None).await);
    assert!(!walk.is_kept(3, Some(2)).await, "the second is not there");
    assert_eq!(rig.db.text(ACCOUNT).await.as_deref(), Some("running 1 1 1 0 0"));
    assert!(
        walk.is_kept(2, Some(1)).await && !walk.is_kept(2, Some(1)).await,
        "each counts once"
    );
    assert!(walk.is_kept(3, Some(2)).await);
    assert_eq!(rig.db.text(ACCOUNT).await.as_deref(), Some("done 3 3 2 0 1"));
    rig.end().await;
}

/// Whom another process has recorded, and who was deleted since: neither is in this process's memory, and both come
/// after a page of strangers.
#[tokio::test]
async fn an_initial_copy_that_meets_somebody_after_all_writes_everybody_once() {
    let rig = Rig::new(Deleted::Keep).await;
    let other = Rig::on(rig.db.again().await, Deleted::Keep);
    for n in [4, 5] {
        other.record(other.seen(&user(n), view(&user(n), "A"))).await;
    }
    other.record(other.seen(&user(5), Seen::Deleted)).await;
    let walk = Walk::begun(&rig).await;
    let first = walk.page(1, None, &[1, 2]).await;
    assert_eq!(first.effects, [Effect::Inserted; 2]);
    let second = walk.page(2, Some(1), &[3, 4, 5, 6]).await;
    let expected = [
        Effect::Inserted,
        Effect::Unchanged,
        Effect::Updated,
        Effect::Inserted,
    ];
    assert_eq!((&*second.effects, second.checkpoint_kept), (&expected[..], true));
    let third = walk.page(3, Some(2), &[4, 7]).await;
    assert_eq!(third.effects, [Effect::Unchanged, Effect::Inserted]);
    assert_eq!(rig.db.text(ACCOUNT).await.as_deref(), Some("done 3 8 5 1 2"));
    let told = rig.types().await;
    assert_eq!(told.iter().filter(|told| *told == "user.created").count(), 7);
    assert_eq!(told.iter().filter(|told| *told == "user.restored").count(), 1);
    assert_eq!(told.len(), 9, "{told:?}");
    other.end().await;
    rig.end().await;
}

/// Of the users below 8, all that was written of them but what is random, and when.
const WRITTEN: &str = "
    SELECT string_agg(concat_ws(' ', c.position - first.position, c.id, c.type, c.changed, c.name, c.email, c.created_at,
        c.updated_at, c.deleted_at, c.raw, c.before, c.blank, c.origin, c.route, c.request_id, c.nonce <> 0,
        s.position = c.position, s.standing, s.version, s.content, s.volatile, s.volatile_at IS NOT NULL, s.doubt,
        s.refused, u.raw_json), E'\n' ORDER BY c.id)
    FROM usertap.changes c JOIN usertap.user_state s USING (id) JOIN neon_identity.users_sync u ON u.id::text = c.id
    CROSS JOIN (SELECT min(position) AS position FROM usertap.changes WHERE right(id, 1) < '8') first
    WHERE right(c.id, 1) < '8'";

/// All that a state and a change row can hold.
fn in_full(rig: &Rig, n: u32) -> Observation {
    let id = user(n);
    let seen = altered(view(&id, "Ada"), |view| {
        view.profile.email = Some(format!("{n}@example.test"));
        view.profile.created_at = Utc.timestamp_millis_opt(1_700_000_000_000).single();
        view.profile.updated_at = Utc.timestamp_millis_opt(1_700_000_000_123).single();
        view.version = (n != 2).then_some(i64::from(n));
        view.volatile.0[0] = n as u8;
    });
    rig.seen(&id, seen)
}

#[tokio::test]
async fn what_is_written_of_new_users_is_the_same_whoever_comes_along() {
    let known = [user(8), user(9)];
    let mut written = Vec::new();
    for along in 0..3 {
        let rig = Rig::new(Deleted::Keep).await;
        rig.record(rig.seen(&known[1], view(&known[1], "A"))).await;
        let mut page: Vec<Observation> = (1..=4).map(|n| in_full(&rig, n)).collect();
        match along {
            // New too, and told of by somebody else.
            1 => {
                let mut new = rig.seen(&known[0], view(&known[0], "A"));
                new.source = Source::own(new.source.origin, "another");
                page.push(new);
            }
            // Known.
            2 => page.push(rig.seen(&known[1], view(&known[1], "B"))),
            _ => {}
        }
        let fared = rig.submit(page).fared().await.expect("the recorder runs");
        assert_eq!(fared.effects[..4], [Effect::Inserted; 4]);
        written.push(rig.db.text(WRITTEN).await.expect("rows"));
        if along == 1 {
            let route = format!("SELECT route FROM usertap.changes WHERE id = '{}'", known[0]);
            assert_eq!(rig.db.text(&route).await.as_deref(), Some("another"));
        }
        rig.end().await;
    }
    assert_eq!(written[0].lines().count(), 4, "{}", written[0]);
    assert_eq!(written[0], written[1]);
    assert_eq!(written[0], written[2]);
}
