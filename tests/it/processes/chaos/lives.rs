//! One replica's processes, one after another: each is armed with a step at which it ends itself, or is
//! killed at any moment, or stopped in good order.

use std::time::Duration;

use nix::sys::signal::Signal;
use usertap::failpoint::STEPS;

use super::dice::Dice;
use super::{Address, CARRIED_OUT, Chaos, Seat};
use crate::support::now;
use crate::support::process::{Ended, Process, setting};

const LOOK: Duration = Duration::from_millis(10);

impl Chaos {
    /// Each folder has served once: from now on it may start without the database.
    pub async fn begins(&self) {
        for seat in &self.seats {
            let first = self.start(seat, CARRIED_OUT);
            first.line(" serving").await;
            first.terminated().await.with_code(0);
        }
    }

    pub fn start(&self, seat: &Seat, failpoints: &str) -> Process {
        let armed = [setting("FAILPOINTS", failpoints)];
        let settings: Vec<_> = seat.settings.iter().chain(&armed).cloned().collect();
        self.world.start_with(&["serve"], &settings)
    }
}

pub async fn of(chaos: &Chaos, place: usize, mut dice: Dice) {
    let seat = &chaos.seats[place];
    for life in 0.. {
        if chaos.is_over() {
            return;
        }
        // All of them in turn, the other replica half a turn ahead.
        let step = STEPS[(life + place * STEPS.len() / 2) % STEPS.len()];
        let armed = format!("{CARRIED_OUT},{step}={}", dice.between(1, 4));
        let process = chaos.start(seat, &armed);
        let lasts = dice.millis(1_000, 4_000);
        chaos.ledger.count("lives");
        let ended = live(chaos, seat, process, lasts, dice.below(4) == 0).await;
        *seat.serving.lock().expect("no panic") = None;
        judge(chaos, ended, step);
    }
}

/// How it ended: by itself, or by this.
enum End {
    Itself(Ended),
    Killed(Ended),
    Stopped(Ended),
}

async fn live(chaos: &Chaos, seat: &Seat, mut process: Process, lasts: Duration, gently: bool) -> End {
    let mut looks = tokio::time::interval(LOOK);
    let (began, mut until) = (now(), None);
    loop {
        looks.tick().await;
        if process.has_ended() {
            return End::Itself(process.ended().await);
        }
        if until.is_none()
            && let Some(address) = address(&process)
        {
            *seat.serving.lock().expect("no panic") = Some(address);
            until = Some(now() + lasts);
            chaos
                .ledger
                .count_millis("lives: milliseconds until they serve", now() - began);
        }
        if chaos.is_over() || until.is_some_and(|until| now() >= until) {
            break;
        }
    }
    *seat.serving.lock().expect("no panic") = None;
    process.signal(if gently { Signal::SIGTERM } else { Signal::SIGKILL });
    let ended = process.ended().await;
    match gently {
        true => End::Stopped(ended),
        false => End::Killed(ended),
    }
}

fn address(process: &Process) -> Option<Address> {
    let output = process.output();
    let line = output.stderr.iter().find(|line| line.contains(" serving"))?;
    let word = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
    Some(Address {
        listen: word("listen=")?.to_owned(),
        admin: word("admin=")?.to_owned(),
    })
}

fn judge(chaos: &Chaos, end: End, step: &str) {
    let (ended, what) = match end {
        End::Itself(ended) => {
            assert_eq!(ended.code, None, "it ended by itself: {:#?}", ended.output);
            (ended, format!("kills at {step}"))
        }
        End::Killed(ended) => (ended, "kills at any moment".to_owned()),
        // Its step may lie in the stop.
        End::Stopped(ended) => {
            let what = match ended.code {
                None => format!("kills at {step}"),
                Some(0) => "stops".to_owned(),
                Some(code) => panic!("a stop ended with {code}: {:#?}", ended.output),
            };
            (ended, what)
        }
    };
    chaos.ledger.count(&what);
    let log = ended.output.log();
    for wrong in [
        "panicked",
        "a defect of usertap",
        "are damaged",
        "new epoch",
        "is lost",
        "keeps failing",
    ] {
        assert!(!log.contains(wrong), "{wrong}: {log}");
    }
}
