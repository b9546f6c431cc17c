//! The synced row of one user, fetched and committed first where somebody asks for that.

use serde_json::Value;

use crate::db::{DbError, rows};
use crate::proxy::LocalFault;
use crate::reader::ReadFault;
use crate::record::{Recorded, Unrecorded};
use crate::station::Station;
use crate::upstream::UpstreamError;
use crate::user::UserId;

/// A row, and what was recorded for this answer.
type Told = (Value, Recorded);

/// The synced row; with `ensure` a missing one (or a skeleton) is fetched and committed first.
pub async fn user(station: &Station, id: UserId, ensure: bool) -> Result<Option<Told>, LocalFault> {
    let row = row(station, &id).await?;
    match is_whole(row.as_ref()) || !ensure {
        true => Ok(row.map(there)),
        false => ensured(station, &id).await,
    }
}

/// The synced row of a user of whom it says all that is known.
pub async fn settled_user(station: &Station, id: UserId) -> Result<Option<Told>, LocalFault> {
    // Without the provider nobody can say that it takes the key again.
    if station.recorder.awaits(&id) || station.upstream.refused_key().is_some() {
        return Ok(None);
    }
    let row = rows::settled(&station.database, &id).await.map_err(away)?;
    Ok(row.map(there))
}

async fn ensured(station: &Station, id: &UserId) -> Result<Option<Told>, LocalFault> {
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
            row => Ok(row.map(|row| (row.json(), recorded))),
        },
    }
}

/// A row that was there without anybody's doing.
fn there(row: rows::Row) -> Told {
    (row.json(), Recorded::Committed { position: None })
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
