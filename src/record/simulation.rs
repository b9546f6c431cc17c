//! The recorder's decisions in a simulated world: thousands of histories, no socket, no disk.
//!
//! Users change at a provider with a real past (writes, deletions, restores, A→B→A). One or two
//! usertap processes read and write through it, walk its lists, take webhooks; answers come late and
//! in any order, lists lag, webhooks come late and twice. Processes are killed and lose all but their
//! disk; the database goes away, cuts connections before and after a commit, refuses rows, fails over
//! and loses commits. What decides is the product's own code (memory, backlog, batches, judgements,
//! journal entries, notes of writes, receipts, reads that are owed); what is simulated is the world
//! around it, and the order in which things happen.
//!
//! All along, no row goes back behind what was shown, and nothing is answered `committed` that the row
//! does not say. At rest every row is the provider's user, the feed replayed is the table, and nothing is
//! left to be done. With one clause switched off some history must fail, see [`Without`].
//!
//! A history that fails is made as short as it gets and printed, with the way to see it again.

mod check;
mod connect;
mod database;
mod deliver;
mod dice;
mod directed;
mod disk;
mod exchange;
mod figures;
mod history;
mod lane;
mod machine;
mod mishap;
mod provider;
mod rule;
mod transaction;
mod waiting;
mod webhook;
mod without;
mod world;

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Runtime};

use figures::Figures;
use without::Without;
use world::{World, Wrong};

const STEPS: usize = 40;
/// At every test run; `USERTAP_HISTORIES` asks for more.
const HISTORIES: u64 = 5_000;
/// Among so many one must fail where a clause is switched off.
const UNTIL_CAUGHT: u64 = 3_000;
/// The environment variable that names one history, and the one that asks for more or fewer.
const SEED: &str = "USERTAP_SEED";
const MANY: &str = "USERTAP_HISTORIES";

/// What a future has come to by now.
fn polled<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(told) => Some(told),
        Poll::Pending => None,
    }
}

/// Its clock moves only when a history says so.
fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

fn all_steps() -> Vec<usize> {
    (1..=STEPS).collect()
}

/// What one history comes to, some of its steps left out.
fn outcome(seed: u64, without: Without, steps: &[usize], runtime: &Runtime) -> (Result<(), Wrong>, Figures) {
    let mut world = World::new(seed, without, runtime);
    let ran = world.run(steps);
    (ran, std::mem::take(&mut world.figures))
}

/// The failing history that was found first, if any, and what all of them went through.
fn search(without: Without, histories: u64) -> (Option<(u64, Wrong)>, Figures) {
    let (next, found, all) = (
        AtomicU64::new(0),
        Mutex::new(None),
        Mutex::new(Figures::default()),
    );
    let work = || {
        let (runtime, mut figures, steps) = (runtime(), Figures::default(), all_steps());
        let _within = runtime.enter();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= histories {
                break;
            }
            let (ran, seen) = outcome(seed, without, &steps, &runtime);
            figures.add(&seen);
            if let Err(wrong) = ran {
                next.store(histories, Ordering::Relaxed);
                let mut found = found.lock().unwrap();
                let first = found.get_or_insert((seed, wrong));
                *first = (*first).min((seed, wrong));
            }
        }
        all.lock().unwrap().add(&figures);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    (found.into_inner().unwrap(), all.into_inner().unwrap())
}

/// As few steps as still go wrong in the same way.
fn shortened(seed: u64, without: Without, wrong: Wrong, runtime: &Runtime) -> Vec<usize> {
    let mut steps = all_steps();
    for size in [STEPS / 2, STEPS / 4, STEPS / 8, 2, 1, 1] {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match outcome(seed, without, &fewer, runtime).0 == Err(wrong) {
                true => steps = fewer,
                false => at += size,
            }
        }
    }
    steps
}

/// A failing history as short as it gets, step by step.
fn told(seed: u64, without: Without, wrong: Wrong) -> String {
    let runtime = runtime();
    let _within = runtime.enter();
    let steps = shortened(seed, without, wrong, &runtime);
    let mut world = World::new(seed, without, &runtime).traced();
    let ran = world.run(&steps);
    let trace = world.trace().join("\n  ");
    format!(
        "history {seed}: {wrong} ({ran:?} after {} of {STEPS} steps)\n  {trace}\nAgain: {SEED}={seed} cargo test --lib \
         no_history_leaves_a_row_stale",
        steps.len()
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "replays one history; no setting of the product"
)]
fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_history_leaves_a_row_stale_or_takes_it_back() {
    if let Some(seed) = asked_for(SEED) {
        let runtime = runtime();
        let _within = runtime.enter();
        let ran = outcome(seed, Without::Nothing, &all_steps(), &runtime).0;
        return ran.unwrap_or_else(|wrong| panic!("{}", told(seed, Without::Nothing, wrong)));
    }
    let (found, figures) = search(Without::Nothing, asked_for(MANY).unwrap_or(HISTORIES));
    if let Some((seed, wrong)) = found {
        panic!("{}", told(seed, Without::Nothing, wrong));
    }
    println!("{figures}");
    assert_eq!(figures.missing(), [""; 0], "what never happened shows nothing");
}

fn uncaught(clauses: &[Without]) -> Vec<Without> {
    let histories = asked_for(MANY).unwrap_or(UNTIL_CAUGHT);
    let mut idle = Vec::new();
    for without in clauses {
        match search(*without, histories).0 {
            Some((seed, wrong)) => println!("{without:?}: history {seed}, {wrong}"),
            None => idle.push(*without),
        }
    }
    idle
}

#[test]
fn every_clause_is_needed() {
    assert_eq!(uncaught(&Without::CAUGHT), [], "switched off, and nothing fails");
}

/// It would be news if one were needed.
#[test]
#[ignore = "takes long to show nothing"]
fn an_idle_clause_is_idle() {
    assert_eq!(uncaught(&Without::IDLE), Without::IDLE);
}
