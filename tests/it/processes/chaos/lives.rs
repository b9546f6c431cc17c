//! One replica's processes, one after another: each is armed with a step at which it ends itself, or is
//! killed at any moment, or stopped in good order.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use usertap::failpoint::STEPS;

use super::climate::Ground;
use super::dice::Dice;
use super::neighbour::Door;
use super::{Address, Chaos, SHORTENED, Seat, neighbour, todos};
use crate::support::process::{Ended, Process, setting};
use crate::support::{eventually, now};

const LOOK: Duration = Duration::from_millis(10);

impl Chaos {
    /// Each folder has served once: from now on it may start without the database.
    pub async fn begins(&self) {
        if self.climate.has_neighbour {
            neighbour::moves_in(&self.world);
        }
        let firsts = self.one_a_folder();
        for first in &firsts {
            self.serves(first).await;
        }
        for first in firsts {
            first.terminated().await.with_code(0);
        }
        self.eyes.execute(todos::TABLE).await.expect("a table");
    }

    /// All at once.
    pub fn one_a_folder(&self) -> Vec<Process> {
        let seats = self.seats.iter();
        let folders = seats.flat_map(|seat| seat.folders.iter().map(move |folder| (seat, folder)));
        let started = folders.map(|(seat, folder)| self.start(seat, folder, SHORTENED));
        started.collect()
    }

    fn start(&self, seat: &Seat, folder: &Path, failpoints: &str) -> Process {
        let armed = [
            setting("FAILPOINTS", failpoints),
            setting("USERTAP_DATA_DIR", folder.display()),
        ];
        let settings: Vec<_> = seat.settings.iter().chain(&armed).cloned().collect();
        self.starts(&["serve"], &settings)
    }

    pub fn starts(&self, args: &[&str], also: &[(String, String)]) -> Process {
        let mut settings = self.world.settings();
        settings.extend_from_slice(also);
        let mut args = args.to_vec();
        if self.climate.has_neighbour {
            settings.retain(|(name, _)| !neighbour::is_of_one(name));
        }
        if self.climate.has_neighbour && args != ["serve"] {
            args.extend(["--tenant", neighbour::FIRST]);
        }
        Process::start(self.world.folder.path(), &args, &settings)
    }

    /// Once it serves.
    pub async fn serves(&self, process: &Process) -> Address {
        eventually("it serves", async || address(self, process)).await
    }
}

pub async fn of(chaos: &Chaos, place: usize, mut dice: Dice) {
    let seat = &chaos.seats[place];
    let mut leaving: Option<Leaving> = None;
    for life in 0.. {
        if chaos.is_over() {
            break;
        }
        // All of them in turn, the other replica half a turn ahead.
        let step = STEPS[(life + place * STEPS.len() / 2) % STEPS.len()];
        let how = How::by(&mut dice, chaos.climate.rolls);
        // One that another takes the place of would rarely come so far.
        let is_quiet = how == How::Left || chaos.is_lull();
        let times = dice.between(1, if is_quiet { 400 } else { 4 });
        let armed = format!("{SHORTENED},{step}={times}");
        let folder = leaving.as_ref().map_or(0, |leaving| 1 - leaving.folder);
        let process = chaos.start(seat, &seat.folders[folder], &armed);
        let lasts = dice.millis(1_000, 4_000);
        let pause = (dice.below(4) == 0).then(|| dice.millis(100, 3_000));
        chaos.ledger.count("lives");
        match live(chaos, seat, process, lasts, how, pause, &mut leaving).await {
            End::Left(process) => {
                leaving = Some(Leaving {
                    process,
                    folder,
                    step,
                });
            }
            ended => judge(chaos, ended, step),
        }
    }
    if let Some(leaving) = leaving {
        leaving.stops(chaos).await;
    }
}

/// One that serves until the next one does.
struct Leaving {
    process: Process,
    folder: usize,
    step: &'static str,
}

impl Leaving {
    async fn stops(mut self, chaos: &Chaos) {
        // Its step may come sooner.
        if !self.process.has_ended() {
            self.process.signal(Signal::SIGTERM);
        }
        chaos.ledger.count("lives: one after the other");
        judge(chaos, End::Stopped(self.process.ended().await), self.step);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Killed,
    Stopped,
    Left,
}

impl How {
    fn by(dice: &mut Dice, rolls: bool) -> How {
        match dice.below(4) {
            0 => How::Stopped,
            1 | 2 if rolls => How::Left,
            _ => How::Killed,
        }
    }
}

/// How it ended: by itself, or by this.
enum End {
    Itself(Ended),
    Killed(Ended),
    Stopped(Ended),
    /// Not yet.
    Left(Process),
}

async fn live(
    chaos: &Chaos,
    seat: &Seat,
    mut process: Process,
    lasts: Duration,
    how: How,
    pause: Option<Duration>,
    before: &mut Option<Leaving>,
) -> End {
    let serving = |address| *seat.serving.lock().expect("no panic") = address;
    let mut looks = tokio::time::interval(LOOK);
    let (began, mut until) = (now(), None);
    let mut pause = pause;
    loop {
        looks.tick().await;
        if process.has_ended() {
            if before.is_none() {
                serving(None);
            }
            return End::Itself(process.ended().await);
        }
        if until.is_none()
            && let Some(address) = address(chaos, &process)
        {
            serving(Some(address));
            chaos
                .ledger
                .count_millis("lives: milliseconds until they serve", now() - began);
            if let Some(before) = before.take() {
                before.stops(chaos).await;
            }
            until = Some(now() + lasts);
        }
        if until.is_some_and(|until| now() + lasts / 2 >= until)
            && let Some(pause) = pause.take()
        {
            stands_still(chaos, &process, pause).await;
        }
        let is_time = until.is_some_and(|until| now() >= until);
        if chaos.is_over() || (is_time && !chaos.is_lull()) {
            break;
        }
    }
    if how == How::Left && until.is_some() && !chaos.is_over() {
        return End::Left(process);
    }
    serving(None);
    process.signal(if how == How::Killed {
        Signal::SIGKILL
    } else {
        Signal::SIGTERM
    });
    let ended = process.ended().await;
    match how {
        How::Killed => End::Killed(ended),
        How::Stopped | How::Left => End::Stopped(ended),
    }
}

/// As where its machine is paused.
async fn stands_still(chaos: &Chaos, process: &Process, pause: Duration) {
    process.signal(Signal::SIGSTOP);
    tokio::time::sleep(pause).await;
    process.signal(Signal::SIGCONT);
    chaos.ledger.count("lives: paused");
}

fn address(chaos: &Chaos, process: &Process) -> Option<Address> {
    let log = process.output().stderr;
    let lines = log.iter().filter(|line| line.contains(" serving"));
    let (next, own): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains(neighbour::NEXT));
    let own = door(own.first()?)?;
    let neighbour = next.first().and_then(|line| door(line));
    (neighbour.is_some() == chaos.climate.has_neighbour).then_some(Address {
        listen: own.listen,
        admin: own.admin,
        neighbour,
    })
}

fn door(line: &str) -> Option<Door> {
    let word = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
    Some(Door {
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
        End::Left(_) => return,
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
    // Nothing is lost with a server that was killed; of a standby nobody can know that.
    let may_lack = chaos.climate.ground == Ground::Pair;
    for wrong in [
        "panicked",
        "a defect of usertap",
        "are damaged",
        if may_lack { "panicked" } else { "new epoch" },
        "is lost",
        "keeps failing",
    ] {
        assert!(!log.contains(wrong), "{wrong}: {log}");
    }
}
