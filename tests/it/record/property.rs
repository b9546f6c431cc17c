//! Random histories through a real recorder and Postgres, held against the pure rule and against
//! a provider with a real past.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use usertap::config::Deleted;
use usertap::db::rows::{self, Whose};
use usertap::record::Receipt;
use usertap::record::merge::{Known, Standing, Verdict, judge, settles, shows};
use usertap::user::{ContentHash, IdType, Observation, Position, Profile, Seen, Sent, Tick, UserId, View};

use super::{Process, observation};
use crate::support::postgres::TestDatabase;

const USERS: usize = 3;
const SEED: [u8; 32] = *b"usertap: the order of what is it";

fn runner(cases: u32) -> TestRunner {
    println!("seed: {SEED:?}, {cases} cases");
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 30,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED))
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

async fn started(db: &TestDatabase) -> Process {
    Process::start(&db.database, Deleted::Keep).knows_the_head().await
}

fn user(case: usize, n: usize) -> UserId {
    let id = format!("00000000-0000-4000-8000-{case:08}{n:04}");
    UserId::parse(&id, IdType::Uuid).expect("an id")
}

fn whole(id: &UserId, content: u8, moment: usize, version: Option<i64>) -> Seen {
    let raw = json!({ "id": id.as_str(), "content": content, "moment": moment });
    Seen::Whole(Arc::new(View {
        raw: raw.to_string().into(),
        profile: Profile {
            name: Some(content.to_string()),
            ..Profile::default()
        },
        content: ContentHash([content; 16]),
        volatile: ContentHash([0; 16]),
        version,
    }))
}

#[derive(Debug, Clone)]
enum Step {
    Observe {
        user: usize,
        what: What,
        stamp: Stamp,
        unsettled: bool,
    },
    /// What was gathered goes as one submission; nobody waits for it.
    Submit,
    /// All receipts are awaited, and the head is noted.
    Settle,
    Restart,
    Shared(bool),
}

#[derive(Debug, Clone)]
enum What {
    Whole(u8, Option<i64>),
    Partial(u8),
    Deleted,
    Missing,
    Touched,
    Mentioned,
    Awaited,
}

#[derive(Debug, Clone)]
enum Stamp {
    /// So many notes of the head ago.
    Back(usize),
    Never,
    OtherEpoch,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = prop_oneof![
        8 => (0..3_u8, proptest::option::of(0..4_i64)).prop_map(|(content, version)| What::Whole(content, version)),
        2 => (0..3_u8).prop_map(What::Partial),
        2 => Just(What::Deleted),
        2 => Just(What::Missing),
        1 => Just(What::Touched),
        1 => Just(What::Mentioned),
        1 => Just(What::Awaited),
    ];
    let stamp = prop_oneof![
        8 => (0..4_usize).prop_map(Stamp::Back),
        1 => Just(Stamp::Never),
        1 => Just(Stamp::OtherEpoch),
    ];
    let observe =
        (0..USERS, what, stamp, prop::bool::weighted(0.1)).prop_map(|(user, what, stamp, unsettled)| {
            Step::Observe {
                user,
                what,
                stamp,
                unsettled,
            }
        });
    let step = prop_oneof![
        20 => observe,
        5 => Just(Step::Submit),
        6 => Just(Step::Settle),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Shared),
    ];
    vec(step, 1..60)
}

/// What the rule makes of one user: the small model.
#[derive(Debug, Clone)]
struct Model {
    known: Known,
    raw: Option<Value>,
    types: Vec<&'static str>,
}

impl Default for Model {
    fn default() -> Self {
        let known = Known {
            position: Position(0),
            mark: Tick(0),
            standing: Standing::None,
            version: None,
            doubt: None,
        };
        Model {
            known,
            raw: None,
            types: Vec::new(),
        }
    }
}

/// The counters of the model.
#[derive(Debug, Clone, Copy)]
struct Counters {
    epoch: i64,
    position: i64,
    tick: u64,
    shared: bool,
}

impl Counters {
    fn next(&mut self) -> Position {
        self.position += 1;
        Position(self.position)
    }

    fn sent(self) -> Sent {
        Sent {
            epoch: self.epoch,
            position: Position(self.position),
            tick: Tick(self.tick),
        }
    }
}

impl Model {
    fn take(&mut self, seen: &Seen, sent: Sent, unsettled: bool, at: &mut Counters) {
        let raw = self.raw.clone();
        let agrees = |part: &Value| raw.as_ref().is_some_and(|raw| shows(raw, part));
        let verdict = judge(&self.known, at.epoch, seen, sent, agrees);
        let settled = verdict.counts_as_applied() && settles(self.known.doubt, at.epoch, sent);
        match verdict {
            Verdict::Apply | Verdict::Stand => self.apply(seen, at),
            Verdict::Equal | Verdict::Absent => self.equal(seen, at),
            _ => {}
        }
        if settled {
            self.known.doubt = None;
        }
        // A row with nothing but the id always owes a read.
        if verdict == Verdict::Stand && self.known.doubt.is_none() {
            self.known.doubt = Some(at.next());
        }
        if verdict.raises_doubt() || unsettled && verdict.counts_as_applied() {
            self.known.doubt = Some(at.next());
        }
    }

    fn equal(&mut self, seen: &Seen, at: &mut Counters) {
        at.tick += 1;
        self.known.mark = Tick(at.tick);
        if at.shared {
            self.known.position = at.next();
        }
        if let Seen::Whole(view) = seen {
            let both = self.known.version.zip(view.version);
            self.known.version = both.map(|(ours, theirs)| ours.max(theirs));
        }
    }

    fn apply(&mut self, seen: &Seen, at: &mut Counters) {
        self.known.position = at.next();
        let before = self.known.standing;
        if seen.is_deletion() {
            self.known.standing = Standing::Purged;
            if before.has_row() {
                self.types.push("user.deleted");
                self.known.standing = Standing::Deleted;
            }
            return;
        }
        self.types.push(match before {
            Standing::None => "user.created",
            Standing::Deleted | Standing::Purged => "user.restored",
            _ => "user.updated",
        });
        if let Seen::Whole(view) = seen {
            self.known.standing = Standing::Present(view.content);
            self.known.version = view.version;
            self.raw = serde_json::from_str(&view.raw).ok();
        } else {
            self.known.standing = Standing::Skeleton;
            self.raw = None;
        }
    }

    fn told(&self) -> Told {
        let (standing, name) = match self.known.standing {
            Standing::None => ("none", None),
            Standing::Skeleton => ("skeleton", None),
            Standing::Present(ContentHash([content, ..])) => ("present", Some(content.to_string())),
            Standing::Deleted => ("deleted", None),
            Standing::Purged => ("purged", None),
        };
        Told {
            standing: standing.into(),
            has_row: self.known.standing.has_row(),
            is_deleted: self.known.standing == Standing::Deleted,
            name,
            in_doubt: self.known.doubt.is_some(),
            types: self.types.iter().map(|kind| (*kind).to_owned()).collect(),
        }
    }
}

/// What the database says of a user.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    standing: String,
    has_row: bool,
    is_deleted: bool,
    /// Of a user who is present.
    name: Option<String>,
    in_doubt: bool,
    types: Vec<String>,
}

async fn told(db: &TestDatabase, id: &UserId) -> Told {
    let sql = format!(
        "SELECT coalesce(s.standing, 'none'), u.id IS NOT NULL, u.deleted_at IS NOT NULL,
                CASE s.standing WHEN 'present' THEN u.name END, s.doubt IS NOT NULL,
                array(SELECT type FROM usertap.changes c WHERE c.id = k.id ORDER BY position)
         FROM (SELECT '{id}' AS id) k LEFT JOIN usertap.user_state s ON s.id = k.id
         LEFT JOIN neon_identity.users_sync u ON u.id = k.id::uuid"
    );
    let row = db.client.query_one(&sql, &[]).await.expect("a query");
    Told {
        standing: row.get(0),
        has_row: row.get(1),
        is_deleted: row.get(2),
        name: row.get(3),
        in_doubt: row.get(4),
        types: row.get(5),
    }
}

/// A recorder and the model side by side.
struct Pair<'a> {
    db: &'a TestDatabase,
    case: usize,
    process: Process,
    models: BTreeMap<usize, Model>,
    counters: Counters,
    /// Heads noted at rest, as the recorder and as the model know them.
    stamps: Vec<(Sent, Sent)>,
    gathered: Vec<Observation>,
    receipts: Vec<Receipt>,
}

impl Pair<'_> {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Observe {
                user,
                what,
                stamp,
                unsettled,
            } => self.observe(user, what, stamp, unsettled),
            Step::Submit => self.submit(),
            Step::Settle => self.settle().await,
            Step::Restart => self.restart().await,
            Step::Shared(shared) => {
                self.settle().await;
                self.process.recorder.set_shared(shared);
                self.counters.shared = shared;
            }
        }
    }

    fn observe(&mut self, n: usize, what: What, stamp: Stamp, unsettled: bool) {
        let id = user(self.case, n);
        let seen = match what {
            What::Whole(content, version) => whole(&id, content, 0, version),
            What::Partial(content) => Seen::Partial(Box::new(json!({ "content": content }))),
            What::Deleted => Seen::Deleted,
            What::Missing => Seen::Missing,
            What::Touched => Seen::Touched,
            What::Mentioned => Seen::Mentioned,
            What::Awaited => Seen::Awaited,
        };
        let (real, model) = self.stamp(&stamp);
        let counters = &mut self.counters;
        self.models
            .entry(n)
            .or_default()
            .take(&seen, model, unsettled, counters);
        self.gathered.push(Observation {
            unsettled,
            ..observation(&id, seen, real)
        });
    }

    fn stamp(&self, stamp: &Stamp) -> (Sent, Sent) {
        let at = |back: usize| self.stamps[self.stamps.len().saturating_sub(back + 1)];
        let other = |sent: Sent| Sent {
            epoch: sent.epoch + 1,
            ..sent
        };
        match stamp {
            Stamp::Back(back) => at(*back),
            Stamp::Never => (Sent::NEVER, Sent::NEVER),
            Stamp::OtherEpoch => (other(at(0).0), other(at(0).1)),
        }
    }

    fn submit(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        self.receipts.push(self.process.submit(gathered));
    }

    async fn settle(&mut self) {
        self.submit();
        for receipt in self.receipts.drain(..) {
            receipt.fared().await.expect("the recorder runs");
        }
        self.stamps.push((self.process.head.sent(), self.counters.sent()));
        for (n, model) in &self.models {
            assert_eq!(
                told(self.db, &user(self.case, *n)).await,
                model.told(),
                "user {n}: {model:?}"
            );
        }
    }

    async fn restart(&mut self) {
        self.settle().await;
        let next = started(self.db).await;
        std::mem::replace(&mut self.process, next).end().await;
        self.counters.tick = 0;
        self.counters.shared = false;
        for model in self.models.values_mut() {
            model.known.mark = Tick(0);
        }
        self.stamps = vec![(self.process.head.sent(), self.counters.sent())];
    }
}

async fn conforms(db: &TestDatabase, case: usize, steps: Vec<Step>) {
    let process = started(db).await;
    let counters = Counters {
        epoch: process.head.sent().epoch,
        position: 0,
        tick: 0,
        shared: false,
    };
    let mut pair = Pair {
        db,
        case,
        stamps: vec![(process.head.sent(), counters.sent())],
        process,
        models: BTreeMap::new(),
        counters,
        gathered: Vec::new(),
        receipts: Vec::new(),
    };
    for step in steps {
        pair.step(step).await;
    }
    pair.settle().await;
    pair.process.end().await;
}

#[test]
fn the_recorder_does_what_the_rule_says() {
    let runtime = runtime();
    let db = runtime.block_on(TestDatabase::new(IdType::Uuid));
    let case = std::cell::Cell::new(0);
    let ran = runner(48).run(&steps(), |steps| {
        case.set(case.get() + 1);
        runtime.block_on(conforms(&db, case.get(), steps));
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
}

/// A provider whose users have a past, and the answers that are on their way.
struct Provider {
    case: usize,
    /// Contents by moment; `None` where there is no user.
    lives: Vec<Vec<Option<u8>>>,
    asked: Vec<Asked>,
}

struct Asked {
    user: usize,
    sent: Sent,
    write: Option<Option<u8>>,
    is_told_elsewhere: bool,
    /// The moment that the answer shows.
    shows: Option<usize>,
}

impl Provider {
    fn ask(&mut self, user: usize, sent: Sent, write: Option<Option<u8>>) {
        self.asked.push(Asked {
            user,
            sent,
            write,
            is_told_elsewhere: false,
            shows: None,
        });
    }

    fn change_elsewhere(&mut self, user: usize, content: Option<u8>) {
        self.lives[user].push(content);
        self.asked.push(Asked {
            user,
            sent: Sent::NEVER,
            write: None,
            is_told_elsewhere: true,
            shows: Some(self.lives[user].len() - 1),
        });
    }

    fn answer(&mut self, pick: usize) {
        let open: Vec<usize> = (0..self.asked.len())
            .filter(|&at| self.asked[at].shows.is_none())
            .collect();
        if open.is_empty() {
            return;
        }
        let asked = &mut self.asked[open[pick % open.len()]];
        self.lives[asked.user].extend(asked.write);
        asked.shows = Some(self.lives[asked.user].len() - 1);
    }

    fn arrive(&mut self, pick: usize) -> Option<Observation> {
        let here: Vec<usize> = (0..self.asked.len())
            .filter(|&at| self.asked[at].shows.is_some())
            .collect();
        let at = *here.get(pick.checked_rem(here.len())?)?;
        let asked = self.asked.swap_remove(at);
        let (id, moment) = (user(self.case, asked.user), asked.shows?);
        let seen = match (self.lives[asked.user][moment], asked.write) {
            (Some(content), _) => whole(&id, content, moment, None),
            (None, _) if asked.is_told_elsewhere => Seen::Touched,
            (None, Some(_)) => Seen::Deleted,
            (None, None) => Seen::Missing,
        };
        Some(observation(&id, seen, asked.sent))
    }

    /// Reads in flight go with the process; writes that got no answer are told of otherwise.
    fn lose_answers(&mut self) {
        self.asked
            .retain(|asked| asked.write.is_some() || asked.is_told_elsewhere);
        for asked in &mut self.asked {
            if asked.shows.is_none() {
                self.lives[asked.user].extend(asked.write);
            }
            asked.is_told_elsewhere = true;
            asked.sent = Sent::NEVER;
            asked.shows = Some(self.lives[asked.user].len() - 1);
        }
    }
}

async fn converges(db: &TestDatabase, case: usize, picks: Vec<(u8, usize)>) {
    let mut process = started(db).await;
    let mut provider = Provider {
        case,
        lives: vec![vec![None]; USERS],
        asked: Vec::new(),
    };
    let mut receipts = Vec::new();
    for (step, pick) in picks {
        let (user, content) = (
            pick % USERS,
            u8::try_from(pick / USERS % 4).ok().filter(|content| *content > 0),
        );
        match step {
            0..5 => provider.ask(user, process.head.sent(), None),
            5..9 => provider.ask(user, process.head.sent(), Some(content)),
            9..11 => provider.change_elsewhere(user, content),
            11..18 => provider.answer(pick),
            18..28 => {
                let batch = (0..pick % 3 + 1).filter_map(|n| provider.arrive(pick / 3 + n));
                let batch = batch.collect();
                receipts.push(process.submit(batch));
            }
            28..32 => {
                for receipt in receipts.drain(..) {
                    Receipt::fared(receipt).await.expect("the recorder runs");
                }
            }
            32..36 => {
                if let Ok(owed) = process.owed.try_recv() {
                    read(&mut provider, &process, &owed.user);
                }
            }
            _ => {
                let next = started(db).await;
                std::mem::replace(&mut process, next).end().await;
                provider.lose_answers();
            }
        }
    }
    come_to_rest(db, &mut provider, &process).await;
    compare(db, &provider).await;
    process.end().await;
}

fn read(provider: &mut Provider, process: &Process, id: &UserId) {
    let found = (0..USERS).find(|n| user(provider.case, *n) == *id);
    if let Some(user) = found {
        provider.ask(user, process.head.sent(), None);
    }
}

async fn come_to_rest(db: &TestDatabase, provider: &mut Provider, process: &Process) {
    for round in 0.. {
        assert!(round < 50, "it does not come to rest");
        while !provider.asked.is_empty() {
            provider.answer(round);
            let arrived = provider.arrive(round).into_iter().collect();
            process.submit(arrived).fared().await.expect("the recorder runs");
        }
        let mut owed = Vec::new();
        for whose in [Whose::Unknown, Whose::Known] {
            let some = rows::doubted(&db.database, whose, Position(0), 100).await;
            owed.extend(some.expect("doubts"));
        }
        let ours = (0..USERS).map(|n| user(provider.case, n));
        let ours: Vec<UserId> = ours
            .filter(|id| owed.iter().any(|(owed, _)| owed == id))
            .collect();
        if ours.is_empty() {
            return;
        }
        for id in ours {
            read(provider, process, &id);
        }
    }
}

async fn compare(db: &TestDatabase, provider: &Provider) {
    for (n, life) in provider.lives.iter().enumerate() {
        let id = user(provider.case, n);
        let told = told(db, &id).await;
        let now = life.last().copied().flatten().map(|content| content.to_string());
        assert_eq!(told.name, now, "user {n}: {told:?} of {life:?}");
        let moments = format!(
            "SELECT (raw->>'moment')::bigint FROM usertap.changes
             WHERE id = '{id}' AND type <> 'user.deleted' ORDER BY position"
        );
        let moments = db.client.query(&moments, &[]).await.expect("a query");
        let moments: Vec<i64> = moments.iter().map(|row| row.get(0)).collect();
        assert!(
            moments.is_sorted_by(|one, next| one < next),
            "user {n} went back: {moments:?}"
        );
    }
}

#[test]
fn rows_never_go_back_and_end_as_the_provider_has_them() {
    let runtime = runtime();
    let db = runtime.block_on(TestDatabase::new(IdType::Uuid));
    let case = std::cell::Cell::new(0);
    let picks = vec((0..37_u8, 0..10_000_usize), 20..100);
    let ran = runner(32).run(&picks, |picks| {
        case.set(case.get() + 1);
        runtime.block_on(converges(&db, case.get(), picks));
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
}
