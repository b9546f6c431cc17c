//! What must have happened once before anything is recorded: the migrations, and the binding of
//! the database to its tenant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;

use super::{Database, DbError, LOOK_WAIT, POOL_WAIT, fitness, looked, migrate, rights, tenant};
use crate::provider::Tenant;

/// Done at the first connection, whoever makes it: at the start, or when a database that was away
/// is back.
pub struct Opening {
    migrate: bool,
    tenant: Arc<Tenant>,
    before_binding: BeforeBinding,
    done: AtomicBool,
}

/// Asked once, before a database is bound to its tenant for good: an error is a sentence that says
/// why the settings must be wrong.
pub type BeforeBinding = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

impl Opening {
    pub fn new(migrate: bool, tenant: Arc<Tenant>, before_binding: BeforeBinding) -> Opening {
        Opening {
            migrate,
            tenant,
            before_binding,
            done: AtomicBool::new(false),
        }
    }

    async fn go_through(&self, database: &Database) -> Result<(), DbError> {
        // Two connections, and a look.
        looked(3 * POOL_WAIT, fitness::check(database)).await?;
        match self.migrate {
            true => migrate::run(database).await?,
            false => migrate::check(database).await?,
        }
        self.bind(database).await
    }

    async fn bind(&self, database: &Database) -> Result<(), DbError> {
        if looked(LOOK_WAIT, tenant::is_bound(database, &self.tenant)).await? {
            return Ok(());
        }
        (self.before_binding)().await.map_err(DbError::Unfit)?;
        looked(LOOK_WAIT, tenant::bind(database, &self.tenant)).await
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
        match opening.go_through(self).await {
            Ok(()) => {}
            Err(error) => return Err(rights::explained(self, error).await),
        }
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
