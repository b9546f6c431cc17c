//! What must have happened once before anything is recorded: the migrations, and the binding of
//! the database to its tenant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Database, DbError, migrate, tenant};
use crate::provider::Tenant;

/// Done at the first connection, whoever makes it: at the start, or when a database that was away
/// is back.
#[derive(Debug)]
pub struct Opening {
    migrate: bool,
    tenant: Arc<Tenant>,
    done: AtomicBool,
}

impl Opening {
    pub fn new(migrate: bool, tenant: Arc<Tenant>) -> Opening {
        Opening {
            migrate,
            tenant,
            done: AtomicBool::new(false),
        }
    }
}

impl Database {
    /// Migrates (or checks, where the settings say so) and binds to the tenant, once.
    ///
    /// # Errors
    /// [`DbError::Away`], or [`DbError::Unfit`] with the remedy.
    pub async fn open(&self) -> Result<(), DbError> {
        let Some(opening) = self
            .opening
            .as_deref()
            .filter(|opening| !opening.done.load(Ordering::Acquire))
        else {
            return Ok(());
        };
        match opening.migrate {
            true => migrate::run(self).await?,
            false => migrate::check(self).await?,
        }
        tenant::bind(self, &opening.tenant).await?;
        opening.done.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether [`Database::open`] has succeeded.
    pub fn is_open(&self) -> bool {
        self.opening
            .as_deref()
            .is_none_or(|opening| opening.done.load(Ordering::Acquire))
    }
}
