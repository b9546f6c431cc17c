//! A process that ends, and a database that loses what it had committed.

use super::*;

impl World {
    /// Memory and questions are lost; a write that got no answer is read after.
    pub(super) fn crash(&mut self) {
        let process = self.dice.below(self.processes.len());
        self.processes[process] = Process {
            head: Position(self.kept.position),
            epoch: self.epoch,
            ..Process::default()
        };
        self.asked
            .retain(|asked| asked.process != process || asked.what != What::Read);
        for asked in &mut self.asked {
            if let (true, What::Write(content)) = (asked.process == process, asked.what) {
                if asked.shows.is_none() {
                    self.lives[asked.user].push(content);
                }
                asked.what = What::Webhook;
                asked.sent = Sent::NEVER;
                asked.shows = Some(self.lives[asked.user].len() - 1);
            }
        }
    }

    /// The database goes back to a backup; the first process that sees it begins a new epoch, and
    /// every user is read.
    pub(super) fn lose_commits(&mut self) {
        self.kept = self.backup.clone();
        self.epoch += 1;
        self.kept.shown = vec![0; USERS];
        for loaded in &mut self.kept.users {
            if self.without != Without::RereadAfterLoss {
                self.kept.position += 1;
                loaded.has_state = true;
                loaded.known.doubt = Some(Position(self.kept.position));
            }
        }
        self.backup = self.kept.clone();
    }
}
