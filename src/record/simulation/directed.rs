//! Histories that chance makes too rarely: each is there for a clause, and must go wrong without it.

use super::exchange::{As, What, Write};
use super::provider::{USERS, id};
use super::runtime;
use super::without::Without::{self, *};
use super::world::{World, Wrong};
use crate::clock;

type Script = fn(&mut World) -> Result<(), Wrong>;

/// The clause, machines, what happens.
const DIRECTED: [(Without, usize, Script); 18] = [
    (DoubtOfAmbiguous, 1, a_webhook_that_differs),
    (NewPlaceOfDoubt, 1, a_doubt_while_an_older_one_is_read),
    (ForgetLost, 2, looked_at_and_lost),
    (NoteUntilDurable, 1, killed_between_answer_and_commit),
    (AbsenceIsNone, 1, a_list_misses_somebody),
    (OrderOfReceipt, 1, equal_while_something_else_is_journaled),
    (JournalUnchanged, 1, equal_while_something_else_is_journaled),
    (EntryProven, 1, equal_before_something_older_is_journaled),
    (Traced, 1, equal_in_the_journal_before_something_older),
    (TicksOfAnother, 2, another_found_it_equal_meanwhile),
    (Distrust, 2, another_found_it_equal_meanwhile),
    (SegmentStays, 1, a_segment_of_two_of_which_one_is_committed),
    (RefusedIsOwed, 1, a_row_that_is_refused_for_a_while),
    (RereadByAll, 2, written_by_one_and_the_other_notices_the_loss),
    (UnknownIsTold, 1, killed_and_lost),
    (NoteOfHistory, 2, killed_and_lost_and_the_other_notices),
    (Epoch, 2, a_bump_is_lost_with_its_process),
    (
        EntryKeepsEpoch,
        2,
        a_bump_is_lost_with_its_process_and_an_entry_stays,
    ),
];

#[test]
fn directed_histories_go_well_and_not_without_their_clause() {
    let runtime = runtime();
    let _within = runtime.enter();
    for (clause, machines, script) in DIRECTED {
        let run = |without| {
            let mut world = World::directed(without, machines, &runtime).traced();
            let ran = script(&mut world).and_then(|()| world.come_to_rest());
            (ran, world.trace().join("\n  "))
        };
        let (ran, trace) = run(Nothing);
        assert_eq!(ran, Ok(()), "the history of {clause:?}:\n  {trace}");
        let (ran, trace) = run(clause);
        assert!(ran.is_err(), "without {clause:?} nothing fails:\n  {trace}");
    }
}

const A: Option<u8> = Some(1);
const B: Option<u8> = Some(2);

/// It is acknowledged, and then the process is killed.
fn a_webhook_that_differs(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.sees(0)?;
    world.becomes(B);
    let moment = world.provider.latest(0);
    world.is_to_be_told(0, moment);
    world.send_webhook(0, moment);
    world.hooks[0].copies = 1;
    world.deliver_webhook(0);
    world.works(0)?;
    world.kill(0);
    Ok(())
}

/// The read that was owed for the first write is answered, then comes the second; nothing in memory
/// is left to tell of it.
fn a_doubt_while_an_older_one_is_read(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.sees(0)?;
    world.writes(0, Write::Silently(2));
    world.arrives(0, 0);
    world.commits(0)?;
    world.read_owed(0);
    world.answer_one();
    world.writes(0, Write::Silently(1));
    world.arrives(0, 1);
    world.commits(0)?;
    world.arrives(0, 0);
    world.commits(0)?;
    world.keep(0);
    world.kill(0);
    Ok(())
}

/// What one machine wrote the other has only looked at, when it is lost.
fn looked_at_and_lost(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.sees(1)?;
    world.kill(1);
    world.sees(0)?;
    world.fails_over()?;
    world.works(0)?;
    world.sees(0)
}

fn killed_between_answer_and_commit(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.sees(0)?;
    world.writes(0, Write::Set(2));
    world.arrives(0, 0);
    world.keep(0);
    world.kill(0);
    Ok(())
}

fn a_list_misses_somebody(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.sees(0)?;
    world.ask(0, What::List, None);
    let absent = world.shown(0, As::Absent);
    let counts = world.without == AbsenceIsNone;
    world.asked[0].answer = Some(Vec::from_iter(counts.then_some(absent)));
    world.arrives(0, 0);
    world.works(0)
}

/// B waits in the journal when A is seen, which the row still says; then the process is killed.
fn equal_while_something_else_is_journaled(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.sees(0)?;
    world.becomes(B);
    world.asks(0);
    world.outage();
    world.arrives(0, 0);
    world.journals(0)?;
    world.becomes(A);
    world.sees(0)?;
    world.journals(0)?;
    world.kill(0);
    Ok(())
}

/// A was found equal in memory alone when B, which was sent before, goes into the journal.
fn equal_before_something_older_is_journaled(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.sees(0)?;
    world.becomes(B);
    world.asks(0);
    world.becomes(A);
    world.asks(0);
    world.arrives(0, 1);
    world.works(0)?;
    world.outage();
    world.arrives(0, 0);
    world.journals(0)?;
    world.kill(0);
    Ok(())
}

/// Two sightings of A are drained, and B behind them, which was sent before, is not when it is killed.
fn equal_in_the_journal_before_something_older(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.sees(0)?;
    world.kill(0);
    world.start(0);
    world.works(0)?;
    world.becomes(B);
    world.asks(0);
    world.becomes(A);
    world.asks(0);
    world.asks(0);
    world.outage();
    world.arrives(0, 1);
    world.arrives(0, 1);
    world.arrives(0, 0);
    world.journals(0)?;
    dies_before_the_last_is_drained(world)
}

fn dies_before_the_last_is_drained(world: &mut World) -> Result<(), Wrong> {
    world.outage();
    world.batch = Some(1);
    while world.depth(0) > 1 {
        world.step_lane(0, 0)?;
    }
    world.kill(0);
    Ok(())
}

/// B waits in a dead machine's journal while the other one finds A equal, in its memory alone.
fn another_found_it_equal_meanwhile(world: &mut World) -> Result<(), Wrong> {
    world.kill(1);
    world.becomes(A);
    (0..3).try_for_each(|_| world.sees(0))?;
    world.becomes(B);
    world.asks(0);
    world.outage();
    world.arrives(0, 0);
    world.journals(0)?;
    world.kill(0);
    world.outage();
    world.start(1);
    world.becomes(A);
    world.sees(1)
}

fn a_segment_of_two_of_which_one_is_committed(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.provider.becomes(1, A, clock::now());
    for user in 0..2 {
        world.ask(0, What::Read(user), None);
        world.answer_one();
    }
    world.outage();
    world.arrives(0, 0);
    world.arrives(0, 0);
    world.journals(0)?;
    dies_before_the_last_is_drained(world)
}

fn a_row_that_is_refused_for_a_while(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.database.refuses = A;
    world.sees(0)
}

fn written_by_one_and_the_other_notices_the_loss(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.sees(1)?;
    world.fails_over()?;
    world.works(0)
}

fn killed_and_lost(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.sees(0)?;
    world.kill(0);
    world.fails_over()
}

fn killed_and_lost_and_the_other_notices(world: &mut World) -> Result<(), Wrong> {
    killed_and_lost(world)?;
    world.works(1)
}

/// B is on its way when the other machine finds A equal and moves the position; both the move and the
/// machine are lost.
fn a_bump_is_lost_with_its_process(world: &mut World) -> Result<(), Wrong> {
    seen_by_the_other_alone(world)?;
    world.fails_over()?;
    world.machines.truncate(1);
    world.works(0)?;
    world.arrives(0, 0);
    world.works(0)
}

fn a_bump_is_lost_with_its_process_and_an_entry_stays(world: &mut World) -> Result<(), Wrong> {
    seen_by_the_other_alone(world)?;
    world.outage();
    world.arrives(0, 0);
    world.journals(0)?;
    world.stops(0);
    world.outage();
    world.fails_over()?;
    world.machines.truncate(1);
    Ok(())
}

fn seen_by_the_other_alone(world: &mut World) -> Result<(), Wrong> {
    world.becomes(A);
    world.sees(0)?;
    world.sees(0)?;
    world.database.standby = world.database.tables.clone();
    world.becomes(B);
    world.asks(0);
    world.becomes(A);
    world.sees(1)?;
    world.kill(1);
    Ok(())
}

impl<'r> World<'r> {
    /// Nothing is left to chance: no user, no webhook, no version, no lag.
    fn directed(without: Without, machines: usize, runtime: &'r tokio::runtime::Runtime) -> World<'r> {
        let mut world = World::new(0, without, runtime);
        (world.users, world.is_wild, world.tells) = (USERS, false, false);
        (world.lags, world.purges) = (false, false);
        world.provider.without_anybody(clock::now());
        world.machines.truncate(1);
        world.machines.resize_with(machines, Default::default);
        (0..machines).for_each(|machine| world.start(machine));
        // The first records last.
        for machine in (0..machines).rev() {
            let worked = world.works(machine);
            debug_assert_eq!(worked, Ok(()));
        }
        world.database.standby = world.database.tables.clone();
        world
    }

    fn becomes(&mut self, content: Option<u8>) {
        self.provider.becomes(0, content, clock::now());
    }

    /// What the provider answers is on its way.
    fn asks(&mut self, machine: usize) {
        self.ask(machine, What::Read(0), None);
        self.answer_one();
    }

    /// The answer that was asked for so many before others.
    fn arrives(&mut self, machine: usize, nth: usize) {
        let here = (0..self.asked.len()).filter(|at| self.asked[*at].machine == machine);
        if let Some(at) = here.into_iter().nth(nth) {
            let asked = self.asked.remove(at);
            self.take(asked);
        }
    }

    fn sees(&mut self, machine: usize) -> Result<(), Wrong> {
        self.asks(machine);
        let others = self.asked.iter().filter(|asked| asked.machine == machine);
        let last = others.count() - 1;
        self.arrives(machine, last);
        self.works(machine)
    }

    /// Noted, forwarded and answered.
    fn writes(&mut self, machine: usize, write: Write) {
        let shared = self.shared(machine);
        let intent = shared.intents.as_ref().map(|intents| {
            let intent = intents.announce(vec![id(0)]).0;
            self.machines[machine].disk.note(intents.take());
            intent
        });
        self.ask(machine, What::Write(0, write), intent);
        self.answer_one();
    }

    fn works(&mut self, machine: usize) -> Result<(), Wrong> {
        self.commits(machine)?;
        self.hear()
    }

    /// And nobody hears of it yet.
    fn commits(&mut self, machine: usize) -> Result<(), Wrong> {
        for lane in (0..super::machine::LANES).cycle().take(40) {
            if self.depth(machine) > 0
                || !self.lane(machine, lane).is_connected
                || self.lane(machine, lane).is_busy()
            {
                self.step_lane(machine, lane)?;
            }
        }
        Ok(())
    }

    fn journals(&mut self, machine: usize) -> Result<(), Wrong> {
        self.works(machine)?;
        self.keep(machine);
        self.hear()
    }

    /// In good order, as far as an outage lets it.
    fn stops(&mut self, machine: usize) {
        let shared = self.shared(machine);
        let note = shared.past.note(shared.head.sent(), true);
        self.machines[machine].disk.history = note;
        self.kill(machine);
    }

    fn fails_over(&mut self) -> Result<(), Wrong> {
        self.lose_commits()?;
        self.cut_all();
        Ok(())
    }

    fn depth(&self, machine: usize) -> usize {
        self.shared(machine).backlog.depth().waiting
    }
}
