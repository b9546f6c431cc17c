//! Rows of the app's own that need their user's. They go with it, and only with it: a row that was removed and
//! made anew would have taken them along.

use std::sync::Mutex;

use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::Chaos;
use super::climate::Deleted;

pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS public.todos (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES neon_identity.users_sync (id) ON DELETE CASCADE
)";

#[derive(Default)]
pub struct Todos(Mutex<Vec<(Uuid, Uuid)>>);

impl Chaos {
    /// Whether the user has a row that one can refer to.
    pub async fn refers_to(&self, user: Uuid) -> bool {
        let todo = Uuid::new_v4();
        let sql = format!("INSERT INTO public.todos VALUES ('{todo}', '{user}') ON CONFLICT (id) DO NOTHING");
        match self.eyes.execute(&sql).await {
            Ok(()) => self.todos.0.lock().expect("no panic").push((todo, user)),
            Err(error) => {
                assert_eq!(
                    error.code(),
                    Some(&SqlState::FOREIGN_KEY_VIOLATION),
                    "{user}: {error:?}"
                );
                return false;
            }
        }
        self.ledger.count("todos");
        true
    }

    /// Todos that are gone though nobody has removed their user.
    pub async fn todos_lost(&self) -> Vec<String> {
        let there = self.eyes.rows("SELECT id::text FROM public.todos").await;
        let there: Vec<Uuid> = there
            .iter()
            .map(|row| row.get::<_, &str>(0).parse().expect("a UUID"))
            .collect();
        let removed = self.removed.lock().expect("no panic").clone();
        let made = self.todos.0.lock().expect("no panic").clone();
        let stays = |user: &Uuid| {
            !removed.contains(user)
                && (self.climate.deleted == Deleted::Stay
                    || self.world.control().server_view(0, *user).is_some())
        };
        let lost = made
            .iter()
            .filter(|(todo, user)| stays(user) && !there.contains(todo));
        lost.map(|(todo, user)| format!("the todo {todo} of {user} is gone, and its user is not"))
            .collect()
    }
}
