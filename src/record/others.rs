//! Other processes that record the same tenant: what they judged in their memory is not known here.
//!
//! What must never be: a judgement by what this one remembers while others judge too, or by what was sent
//! while they did.

use uuid::Uuid;

use super::Recorder;
use crate::clock;

impl Recorder {
    /// Another process has begun or ceased to record the same tenant: what this one remembers of
    /// users is not all there is, so judgements go through the database.
    pub fn set_shared(&self, shared: bool) {
        self.shared.memory.set_shared(shared);
    }

    pub fn is_shared(&self) -> bool {
        self.shared.memory.is_shared()
    }

    /// Others did not know of this process for a while, or had to take it for dead. Where there are any, or
    /// another has recorded since (`last`: whose recorder came last), they judged without it: nothing that
    /// was sent before now proves anything against what they found equal. Where it was the database that was
    /// away, or left alone, nobody did. Whether anybody has.
    pub fn returned(&self, has_others: bool, last: Option<Uuid>) -> bool {
        let somebody_has = has_others || last.is_some_and(|last| !self.shared.past.is_ours(last));
        if somebody_has {
            self.shared.memory.distrust(clock::now());
        }
        somebody_has
    }
}
