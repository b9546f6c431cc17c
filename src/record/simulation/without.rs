//! What can be switched off, one at a time. A history must fail for each: one of chance for those of
//! [`Without::CAUGHT`], one that is written down for the rest (see [`super::directed`]). A clause without
//! which none fails is either idle or not tested.

/// The clause that is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    Nothing,
    /// Rule 1: positions are given out under one lock, at the end of the transaction.
    PositionsAtTheEnd,
    /// Rule 2: the stamp is taken before the question is sent.
    EarlyStamp,
    /// Rule 2: what was sent in another epoch was sent before everything.
    Epoch,
    /// Rule 2: webhooks prove nothing by position.
    WebhookNever,
    /// Rule 4: whoever is judged is locked.
    Locks,
    /// Rule 4: two transactions that each take a user for a stranger: the second begins anew.
    OneMakesTheState,
    /// Rule 4: what comes later of a user that waits is judged later, equal or not.
    OrderOfReceipt,
    /// Rule 4a: equal counts as applied now.
    Mark,
    /// The same for a not-found of an unknown user.
    MarkOfMissing,
    /// An equal observation leaves no version behind that is not the row's.
    VersionOfEquals,
    /// Rule 4b: the position of the last change.
    Position,
    /// Rule 4d: what nobody can tell the order of is read again.
    DoubtOfAmbiguous,
    /// Rule 5: a version passes no tombstone.
    TombstoneByPosition,
    /// Rule 6: a list that lags proves as of then.
    ListLag,
    /// Rule 7: a doubt is served by a read that was sent after it.
    ReadAfterDoubt,
    /// Rule 7: a newer doubt takes the place of an older one.
    NewPlaceOfDoubt,
    /// Rule 7: equal settles a doubt.
    EqualSettles,
    /// Rule 7: any process reads what a dead one owed.
    TakenOver,
    /// Rule 8: the answer waits for the doubt that it raised.
    WaitForDoubt,
    /// Rule 9: a webhook of a deletion, a write without a whole user.
    DoubtOfTouched,
    /// Rule 9: a partial view that differs.
    DoubtOfPartial,
    /// Rule 9: a webhook is acknowledged when it is durable.
    AckOnceDurable,
    /// The provider goes on changing a user after its answer.
    Unsettled,
    /// Rule 10: a write that got no answer is in doubt at once.
    DoubtAtOnce,
    /// Rule 10: and once more when the provider can no longer be at it.
    DoubtOnceMore,
    /// Rule 11: absence from a list is no evidence.
    AbsenceIsNone,
    /// With two processes the database alone says what is equal.
    Shared,
    /// Another process recorded meanwhile: what was sent before proves nothing.
    Distrust,
    /// Memory is forgotten with the history that it is of.
    ForgetLost,
    /// A lost history is noticed.
    NoticeLoss,
    /// Also where nobody lacks anything that it knew of: by the server's timeline.
    Timeline,
    /// Also by a process that does nothing, or whose connection did not break.
    LookAround,
    /// No position is used twice: a new epoch begins far beyond.
    Apart,
    /// A lost history is followed by reads.
    RereadAfterLoss,
    /// Of each process: whoever did not begin the epoch too.
    RereadByAll,
    /// Whoever does not know all of whom it had written says so.
    UnknownIsTold,
    /// A process knows where the one before it on its disk stood.
    NoteOfHistory,
    /// What cannot be committed goes to the journal.
    Journal,
    /// A user with something in the journal has nothing judged past it.
    JournalUnchanged,
    /// The journal drains in order.
    JournalOrder,
    /// Entries keep what they knew when they were sent.
    EntryKeepsSent,
    /// Entries keep their epoch.
    EntryKeepsEpoch,
    /// What left its trace in memory alone is not proven by an entry.
    EntryProven,
    /// Ticks of another process mean nothing.
    TicksOfAnother,
    /// What a later process may find again leaves its trace in the database.
    Traced,
    /// A segment stays until all of it is committed.
    SegmentStays,
    /// A write is noted before it is forwarded.
    NoteFirst,
    /// It has ended once its answer is durable, and not before.
    NoteUntilDurable,
    /// What an earlier process left in the middle is read again.
    ReadCutOff,
    /// Whoever was made by a write that nobody saw the end of is looked for.
    LookForUnnamed,
    /// What the database refuses is owed.
    RefusedIsOwed,
}

use Without::*;

impl Without {
    /// Each is caught by chance, at every run.
    pub const CAUGHT: [Without; 32] = [
        PositionsAtTheEnd,
        EarlyStamp,
        WebhookNever,
        Locks,
        OneMakesTheState,
        Mark,
        MarkOfMissing,
        VersionOfEquals,
        Position,
        TombstoneByPosition,
        ListLag,
        ReadAfterDoubt,
        EqualSettles,
        TakenOver,
        WaitForDoubt,
        DoubtOfTouched,
        DoubtOfPartial,
        AckOnceDurable,
        Unsettled,
        DoubtAtOnce,
        DoubtOnceMore,
        Shared,
        NoticeLoss,
        Journal,
        EntryKeepsSent,
        NoteFirst,
        ReadCutOff,
        LookForUnnamed,
        Timeline,
        LookAround,
        Apart,
        RereadAfterLoss,
    ];

    /// Idle: the order rule holds in its place. What was drained too early makes what comes later of the
    /// same user ambiguous, and that costs a read and nothing else; the feed alone is nicer for it.
    pub const IDLE: [Without; 1] = [JournalOrder];
}
