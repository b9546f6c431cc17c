//! What an earlier process left in the folder.
//!
//! A file that may not be read, or mended, costs nobody else: it stays as it is and is looked at again, for
//! what keeps it may pass. What it holds then comes late, as from any other process.

use super::segment::{self, Content};
use super::{END_UNREAD, Journal, JournalFault, Left, Place};

/// A file of which nothing is taken over yet, and why.
#[derive(Debug)]
pub struct Unread {
    number: u64,
    /// None was begun after it by the process that wrote it.
    is_last: bool,
    fault: JournalFault,
}

impl Journal {
    pub(super) fn take_over(&mut self) -> Result<Left, JournalFault> {
        let mut left = Left::default();
        let numbers = segment::numbers(&self.folder)?;
        let last = numbers.last().copied();
        for number in numbers {
            self.next = number + 1;
            let is_last = Some(number) == last;
            match self.take_over_one(number, is_last, &mut left) {
                Err(fault) if fault.may_pass() => {
                    tracing::error!(%fault, "a file of the journal waits until it can be read");
                    self.unread.push(Unread {
                        number,
                        is_last,
                        fault,
                    });
                }
                taken => taken?,
            }
        }
        self.consumed(&[]);
        Ok(left)
    }

    /// What could not be read before, and can be now.
    pub fn take_over_late(&mut self) -> Left {
        let mut left = Left::default();
        for mut unread in std::mem::take(&mut self.unread) {
            match self.take_over_one(unread.number, unread.is_last, &mut left) {
                Ok(()) => tracing::info!("a file of the journal that could not be read is taken in"),
                Err(fault) => {
                    unread.fault = fault;
                    self.unread.push(unread);
                }
            }
        }
        left
    }

    /// Why some of what is in the folder is not taken over.
    pub fn unread(&self) -> Option<&JournalFault> {
        self.unread.first().map(|unread| &unread.fault)
    }

    fn take_over_one(&mut self, number: u64, is_last: bool, left: &mut Left) -> Result<(), JournalFault> {
        match segment::find(&self.folder, number)? {
            Content::Segment(found) => return self.hold_all(number, found, is_last, left),
            Content::Nothing if is_last => return self.leave_out(number),
            // A later one was begun only once this one's head was durable.
            Content::Nothing | Content::Unreadable => segment::set_apart(&self.folder, number),
        }
        left.damaged += 1;
        Ok(())
    }

    fn hold_all(
        &mut self,
        number: u64,
        found: segment::Found,
        is_last: bool,
        left: &mut Left,
    ) -> Result<(), JournalFault> {
        if found.label.tenant != self.label.tenant {
            return Err(JournalFault::Foreign);
        }
        if found.scan.is_torn {
            segment::cut(&self.folder, number, found.scan.end)?;
            tracing::warn!("{END_UNREAD}");
            // A later segment was begun only once this one was durable to its end.
            left.damaged += usize::from(!is_last);
        }
        left.damaged += found.scan.damaged.len();
        self.segments.begin(number, found.label.process);
        if !left.processes.contains(&found.label.process) {
            left.processes.push(found.label.process);
        }
        for record in found.scan.records {
            let place = Place {
                segment: number,
                at: u32::try_from(record.at).unwrap_or(u32::MAX),
                payload: u32::try_from(record.payload.len()).unwrap_or(u32::MAX),
            };
            self.segments.hold(place);
            left.places.push(place);
        }
        Ok(())
    }

    fn leave_out(&self, number: u64) -> Result<(), JournalFault> {
        tracing::warn!("{END_UNREAD}");
        let path = segment::path(&self.folder, number);
        std::fs::remove_file(&path).map_err(|error| JournalFault::unwritten(&path, &error))
    }
}
