//! Error → whose fault → what to do and say, in one pure table.

use super::sql::RowRefusal;
use crate::db::fitness;
use crate::user::on_one_line;

/// Stands for the SQLSTATE of a change that the database refused without telling it.
const UNTOLD: &str = "untold";

/// Stands for the SQLSTATE of a name or an e-mail that is no text: the row was not even tried.
const UNREAD: &str = "unread";

/// Stands for the SQLSTATE where there was no error, and no row either.
const SUPPRESSED: &str = "suppressed";

/// As Postgres calls a statement that ran too long.
pub const TOO_LONG: &str = "57014";

impl RowRefusal {
    /// What the server says of a text with U+0000 in it.
    pub fn nul() -> RowRefusal {
        RowRefusal {
            code: "22021".into(),
            place: None,
        }
    }

    pub fn unread() -> RowRefusal {
        RowRefusal {
            code: UNREAD.into(),
            place: None,
        }
    }

    pub fn suppressed() -> RowRefusal {
        RowRefusal {
            code: SUPPRESSED.into(),
            place: None,
        }
    }

    pub fn too_long() -> RowRefusal {
        RowRefusal {
            code: TOO_LONG.into(),
            place: None,
        }
    }

    pub fn untold() -> RowRefusal {
        RowRefusal {
            code: UNTOLD.into(),
            place: None,
        }
    }
}

/// As Postgres calls what a commit waits for that a standby must confirm.
const UNCONFIRMED: &str = "SyncRep";

/// Whose fault an SQLSTATE is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This one row's: set it aside, go on with the others.
    Row,
    /// The table's, the server's or our rights': nothing can be written until it is mended.
    Database,
    /// The same if a look at the database shows it. Otherwise something of the users' own failed for
    /// this row: a trigger that names a table which is gone, a policy that refuses it.
    Unclear,
}

/// Judges by the SQLSTATE's class (PostgreSQL's documentation, appendix A).
pub fn fault(code: &str) -> Fault {
    match code {
        // What was never tried, and a trigger that ran too long.
        UNTOLD | UNREAD | TOO_LONG => Fault::Row,
        // A lock held too long: on the row, or on the whole table. A policy that is missing.
        "55P03" | SUPPRESSED => Fault::Unclear,
        _ => match code.get(..2) {
            // Data exceptions, constraints, check options, limits of a value, what a trigger raised,
            // routines of the users' own.
            Some("21" | "22" | "23" | "44" | "54" | "P0" | "2F" | "38" | "39" | "0A") => Fault::Row,
            Some("42") => Fault::Unclear,
            _ => Fault::Database,
        },
    }
}

/// The sentence for the status. The server's message is not used: it may quote the user's data.
pub fn reason(refusal: &RowRefusal) -> String {
    let what = match refusal.code.as_str() {
        "23502" => "a NOT NULL constraint refused the row",
        "23503" => "a foreign key refused the change",
        "23505" => "a unique constraint refused the row",
        "23514" => "a CHECK constraint refused the row",
        "22P05" | "22021" => "the row holds a character that Postgres cannot store (U+0000)",
        "22P02" => "the row holds a value that the column's type cannot hold",
        "P0001" => "a trigger raised an exception",
        "42501" => "a row-level policy refused the row, or a trigger lacks a right",
        "55P03" => "a lock on the row was held too long",
        TOO_LONG => "writing the row took too long",
        "42804" | "42P10" | "428C9" => {
            "users_sync is not as it was made (the type of a column, one that is generated, or its primary key), a trigger on \
             it is broken, or a publication has only some of its rows or columns"
        }
        code if code.starts_with("42") => "a trigger on users_sync, or what it calls, is broken",
        UNREAD => {
            return "the row's name or e-mail holds half a surrogate pair, or is no text: Postgres cannot store it".into();
        }
        UNTOLD => {
            return "the database refused the change, and its log says why (where its encoding is not UTF8, a character that it \
                    cannot hold)"
                .into();
        }
        SUPPRESSED => {
            return "a trigger or a policy of users_sync suppressed the row: the table did not take it, and gave no error".into();
        }
        _ => "the database refused the row",
    };
    match &refusal.place {
        Some(place) => format!("{what}: {place} (SQLSTATE {})", refusal.code),
        None => format!("{what} (SQLSTATE {})", refusal.code),
    }
}

/// The sentence for a user of whom not even a skeleton stands.
pub fn reason_without_a_row(refusal: &RowRefusal) -> String {
    format!("{}; no row stands in for it", reason(refusal))
}

/// What stops all writing is none of what is looked for.
pub const UNKNOWN_TROUBLE: &str = "nothing can be written, and none of the usual reasons is it: the log of the database says \
     what it refuses";

/// Commits that are not done, and are not given up yet.
pub const NOT_CONFIRMED: &str = "commits wait for a synchronous standby that does not confirm them: bring it back, or take it out of \
     synchronous_standby_names";

/// Whoever may connect to the database can take the lock.
pub fn kept_from_positions(by: &str) -> String {
    let by = on_one_line(by);
    format!("nothing can be written: the advisory lock under which positions are given out is held by {by}")
}

/// What stops all writing, and the remedy.
pub fn trouble(code: &str) -> String {
    if code == UNCONFIRMED {
        return NOT_CONFIRMED.into();
    }
    let remedy = match code {
        "42P01" => "users_sync or one of usertap's own tables is gone or renamed: `usertap doctor` says more",
        "42501" => {
            "usertap's user may not write its tables: grant it the right, or a policy where row-level security \
             is forced on users_sync"
        }
        "42883" => "usertap's function try_row is gone: restore it",
        "42703" => "a column of users_sync is missing: restore it",
        "42804" => "users_sync.id is of another type than it was made with: give it back that one",
        "25006" => fitness::READ_ONLY,
        "55P03" => {
            "users_sync is locked (by ALTER TABLE, CREATE INDEX without CONCURRENTLY, VACUUM FULL, LOCK TABLE), or is to be \
             once a transaction ends that has read it: end that, or wait; pg_locks shows whose it is"
        }
        "53100" => "the database's disk is full: make room",
        _ => "see the SQLSTATE in PostgreSQL's documentation",
    };
    format!("nothing can be written (SQLSTATE {code}): {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_are_the_rows_fault_and_a_full_disk_is_not() {
        for code in ["23514", "22P05", "P0001", "23505", "57014"] {
            assert_eq!(fault(code), Fault::Row, "{code}");
        }
        for code in ["25006", "53100", "57P01", "", "é"] {
            assert_eq!(fault(code), Fault::Database, "{code}");
        }
        for code in ["42P01", "42501", "42883", "55P03", SUPPRESSED] {
            assert_eq!(fault(code), Fault::Unclear, "{code}");
        }
    }
}
