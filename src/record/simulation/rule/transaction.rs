//! What a process judges and commits in one transaction, and what that must not do.

use super::*;

impl World {
    /// What one transaction of the recorder does; what it puts off is given back.
    pub(super) fn record(&mut self, process: usize, batch: Vec<Asked>) -> Result<Vec<Asked>, Wrong> {
        let observations: Vec<Observation> = batch.iter().map(|asked| self.observation(asked)).collect();
        let mut loaded = (0..USERS)
            .map(|user| (id(user), self.loaded(process, user)))
            .collect();
        let at = Circumstances {
            epoch: self.epoch,
            now: chrono::DateTime::UNIX_EPOCH,
            shared: self.processes.len() > 1 && self.without != Without::Shared,
        };
        let tick = &mut self.processes[process].tick;
        let planned = plan(observations.iter(), &mut loaded, at, || {
            *tick += 1;
            Tick(*tick)
        });
        self.check(&batch, &planned)?;
        let judged = batch.iter().zip(&planned.judged);
        let left_out = judged.filter(|(_, judged)| judged.is_some_and(|j| j.verdict == Verdict::Ambiguous));
        let left_out: Vec<usize> = left_out.map(|(asked, _)| asked.user).collect();
        self.commit(process, &planned, &left_out);
        let put_off = batch
            .into_iter()
            .zip(&planned.judged)
            .filter(|(_, judged)| judged.is_none());
        Ok(put_off.map(|(asked, _)| asked).collect())
    }

    pub(super) fn observation(&mut self, asked: &Asked) -> Observation {
        let moment = asked.shows.unwrap_or(0);
        let content = self.lives[asked.user][moment];
        let seen = match (content, asked.what) {
            (Some(content), _) => self.view(content, moment),
            (None, What::Read) => Seen::Missing,
            (None, What::Write(_)) => Seen::Deleted,
            (None, What::Webhook) => Seen::Touched,
        };
        let mut sent = asked.sent;
        if self.without == Without::EarlyStamp
            || self.without == Without::WebhookNever && asked.what == What::Webhook
        {
            sent = self.stamp(asked.process);
        }
        if self.without == Without::Epoch && sent != Sent::NEVER {
            sent.epoch = self.epoch;
        }
        Observation {
            id: id(asked.user),
            seen,
            sent,
            source: source(),
            unsettled: false,
        }
    }

    pub(super) fn view(&mut self, content: u8, moment: usize) -> Seen {
        let version = i64::try_from(moment).ok();
        let version = version.filter(|_| self.versioned && self.dice.below(4) > 0);
        Seen::Whole(Arc::new(View {
            raw: "{}".into(),
            profile: Profile::default(),
            content: ContentHash([content; 16]),
            volatile: ContentHash([0; 16]),
            version,
        }))
    }

    fn loaded(&self, process: usize, user: usize) -> Loaded {
        let mut loaded = self.kept.users[user].clone();
        let known = &mut loaded.known;
        known.mark = self.processes[process]
            .marks
            .get(&user)
            .copied()
            .unwrap_or_default();
        match self.without {
            Without::Position => known.position = Position(0),
            Without::Mark => known.mark = Tick(0),
            Without::MarkOfMissing if known.standing == Standing::None => known.mark = Tick(0),
            Without::ReadAfterDoubt => known.doubt = known.doubt.map(|_| Position(0)),
            Without::TombstoneByPosition if known.standing.is_deleted() => {
                known.standing = Standing::Present(ContentHash([255; 16]));
            }
            _ => {}
        }
        loaded
    }

    /// Nothing that was shown may be followed by something older.
    fn check(&mut self, batch: &[Asked], planned: &Plan) -> Result<(), Wrong> {
        for (asked, judged) in batch.iter().zip(&planned.judged) {
            let (Some(judged), Some(moment)) = (judged, asked.shows) else {
                continue;
            };
            let shown = &mut self.kept.shown[asked.user];
            if judged.verdict == Verdict::Apply && moment < *shown {
                return Err("a row went back");
            }
            if judged.verdict.counts_as_applied() {
                *shown = moment.max(*shown);
            }
        }
        Ok(())
    }

    fn commit(&mut self, process: usize, planned: &Plan, left_out: &[usize]) {
        for (id, write) in &planned.writes {
            self.write(number(id), write, left_out);
        }
        let here = &mut self.processes[process];
        for (id, mark) in &planned.marks {
            here.marks.insert(number(id), mark.at);
        }
        here.epoch = self.epoch;
        here.head = Position(self.kept.position);
    }

    fn write(&mut self, user: usize, write: &Write, left_out: &[usize]) {
        let position = &mut self.kept.position;
        let loaded = &mut self.kept.users[user];
        let old_doubt = loaded.known.doubt;
        loaded.has_state = true;
        loaded.known.standing = write.state.standing;
        if self.without != Without::VersionOfEquals || write.change.is_some() {
            loaded.known.version = write.state.version;
        }
        if write.change.is_some() || write.bumps {
            *position += 1;
            loaded.known.position = Position(*position);
        }
        if write.row == RowWrite::Deletion || matches!(write.row, RowWrite::Whole(_)) {
            loaded.row = Some(Default::default());
        }
        let is_hint = !left_out.contains(&user);
        loaded.known.doubt = match write.doubt {
            DoubtWrite::Keep(_) => old_doubt,
            DoubtWrite::Clear if self.without == Without::EqualSettles && write.change.is_none() => old_doubt,
            DoubtWrite::Clear => None,
            DoubtWrite::Raise if self.without == Without::DoubtOfAmbiguous && !is_hint => old_doubt,
            DoubtWrite::Raise if self.without == Without::NewPlaceOfDoubt && old_doubt.is_some() => old_doubt,
            DoubtWrite::Raise => {
                *position += 1;
                Some(Position(*position))
            }
        };
        if write.leaves_a_stranger() && loaded.known.doubt.is_none() && loaded.known.position == Position(0) {
            *loaded = Loaded::stranger();
        }
    }
}
