//! The synced row of one user, fetched and committed first where somebody asks for that.

use crate::db::{DbError, rows};
use crate::proxy::{LocalFault, SyncedRow};
use crate::reader::ReadFault;
use crate::record::{Recorded, Unrecorded};
use crate::station::Station;
use crate::upstream::UpstreamError;
use crate::user::UserId;

/// The synced row; with `ensure` a missing one (or a skeleton) is fetched and committed first.
pub async fn user(station: &Station, id: UserId, ensure: bool) -> Result<Option<SyncedRow>, LocalFault> {
    if let Some(in_use) = station.needs_database() {
        in_use.await;
    }
    let row = row(station, &id).await?;
    match is_whole(row.as_ref()) || !ensure {
        true => Ok(row.map(there)),
        false => ensured(station, &id).await,
    }
}

/// The synced row of a user of whom it says all that is known.
pub async fn settled_user(station: &Station, id: UserId) -> Result<Option<SyncedRow>, LocalFault> {
    // Without the provider nobody can say that it takes the key again.
    if station.recorder.awaits(&id) || station.upstream.refused_key().is_some() {
        return Ok(None);
    }
    let row = rows::settled(&station.database, &id).await.map_err(away)?;
    Ok(row.map(there))
}

async fn ensured(station: &Station, id: &UserId) -> Result<Option<SyncedRow>, LocalFault> {
    let _turn = station.refetch.turn(id).await;
    let found = row(station, id).await?;
    if is_whole(found.as_ref()) {
        return Ok(found.map(there));
    }
    let receipt = station.refetch.ensure(id).await.map_err(unread)?;
    match receipt.recorded(station.config.sync_timeout).await {
        Recorded::Queued | Recorded::Journaled => Err(LocalFault::DatabaseAway),
        recorded => match row(station, id).await? {
            None if recorded == Recorded::None(Unrecorded::SetAside) => Err(LocalFault::SetAside),
            row => Ok(row.map(|row| told(row, recorded))),
        },
    }
}

/// A row that was there without anybody's doing.
fn there(row: rows::Row) -> SyncedRow {
    told(row, Recorded::Committed { position: None })
}

fn told(row: rows::Row, recorded: Recorded) -> SyncedRow {
    SyncedRow {
        json: row.json(),
        user: row.columns.deleted_at.is_none().then_some(row.raw_json),
        recorded,
    }
}

fn is_whole(row: Option<&rows::Row>) -> bool {
    row.is_some_and(|row| !row.is_skeleton())
}

fn unread(fault: ReadFault) -> LocalFault {
    match fault {
        ReadFault::Upstream(UpstreamError::Timeout | UpstreamError::Limited { .. }) => LocalFault::Late,
        _ => LocalFault::ProviderAway,
    }
}

async fn row(station: &Station, id: &UserId) -> Result<Option<rows::Row>, LocalFault> {
    rows::one(&station.database, id).await.map_err(away)
}

fn away(error: DbError) -> LocalFault {
    tracing::warn!(%error, "a row could not be read");
    LocalFault::DatabaseAway
}
