//! Lines to copy, for this very installation: its addresses, its schema, its type of ids.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::Console;
use super::guard::Visitor;
use super::page::{Frame, Live, page};
use super::pieces::{Mood, lines, pill};
use crate::config::Sync;
use crate::db::listing;
use crate::db::names::quoted;
use crate::user::IdType;

/// What the lines are made for.
struct Place {
    /// Unquoted.
    schema: String,
    id_type: IdType,
    /// Of the proxy.
    base: String,
    /// Of this side.
    admin: String,
    has_token: bool,
}

pub async fn show(State(console): State<Console>, Extension(visitor): Extension<Visitor>) -> Response {
    let config = &console.station.config;
    let place = Place {
        schema: config.schema.clone(),
        id_type: config.id_type,
        base: console.base(),
        admin: format!("http://{}", console.listen),
        has_token: config.admin_token.is_some(),
    };
    let webhook_secret = config.variable("USERTAP_WEBHOOK_SECRET");
    let body = html! {
        div.title { h1 { "Setup" } }
        p.why { "For this very installation: the proxy at " code { (place.base) } ", the table " code { (place.schema) ".users_sync" } ", ids of type " code { (config.id_type.sql()) } "." }
        (section("app", "Point the app at the proxy", html! {
            (lines("The base URL, in place of the provider's own", &place.base))
            @for (title, text) in config.provider.snippets(&config.tenant, &place.base) { (lines(&config.named(title), &text)) }
        }))
        (section("sql", "Foreign keys", html! {
            p { (promise(config.sync)) }
            (lines("Personal data goes with the user, content outlives it", &place.foreign_keys()))
            (lines("Joined so that your own rows stay", &place.join()))
            (lines("For the app's role: to read and to reference, nothing more", &place.grants()))
        }))
        (section("orm", "Models", html! {
            (lines("Drizzle", &place.drizzle()))
            (lines("Prisma: leave the table itself to usertap", &place.prisma()))
        }))
        (section("webhooks", "Webhooks", html! {
            p {
                "What changes without passing the proxy reaches usertap by the provider's webhooks. "
                @match config.webhook_secrets.len() {
                    _ if console.station.webhooks.has_unkept() => { (pill(Mood::Warn, "secret not kept")) " Set " code { (webhook_secret) } " to what the page Connect showed: without it they are answered 404 after the next start." }
                    0 => { (pill(Mood::Warn, "no secret set")) " Until " code { (webhook_secret) } " holds the endpoint's signing secret they are answered 404." }
                    1 => { (pill(Mood::Good, "secret set")) }
                    more => { (pill(Mood::Good, &format!("{more} secrets set"))) }
                }
            }
            (lines("Webhook URL", &format!("{}/_usertap/webhooks", place.base)))
            (lines("Whether signatures come right, and everything else", &config.command("usertap doctor")))
        }))
        (section("feed", "Change feed", html! {
            (lines("Every change, as it comes", &place.feed()))
            (lines("A consumer whose position usertap keeps", &place.slot()))
            (lines("Rows for programs", &place.rows()))
        }))
        (section("search", "Searching a large table", html! {
            p { "The table is yours, and so are its indexes. Up to some hundred thousand rows a search needs none; beyond that this one makes every search quick:" }
            (lines("An index for the search on the page Users", &listing::index(&console.station.database)))
        }))
    };
    let frame = Frame {
        place: "/setup",
        title: "Setup",
        live: Live::No,
    };
    page(&console, &visitor, &frame, body).into_response()
}

fn promise(sync: Sync) -> &'static str {
    match sync {
        Sync::BeforeResponse => {
            "A row is there before your app has the answer that told it of the user, so these hold from the first request on."
        }
        Sync::Async => {
            "With SYNC=async a row comes a moment after the answer that told your app of the user: what references somebody \
             new may be refused until then."
        }
    }
}

fn section(id: &str, title: &str, content: Markup) -> Markup {
    html! {
        section.card #(id) aria-labelledby={ (id) "-title" } {
            header { h2 id={ (id) "-title" } { (title) } }
            (content)
        }
    }
}

impl Place {
    /// In SQL.
    fn table(&self) -> String {
        let plain = self
            .schema
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let schema = if plain {
            self.schema.clone()
        } else {
            quoted(&self.schema)
        };
        format!("{schema}.users_sync")
    }

    fn foreign_keys(&self) -> String {
        let (table, id) = (self.table(), self.id_type.sql().to_uppercase());
        format!(
            "CREATE TABLE todos (
    id SERIAL PRIMARY KEY,
    task TEXT NOT NULL,
    user_id {id} NOT NULL REFERENCES {table}(id) ON DELETE CASCADE,
    created_at TIMESTAMPTZ DEFAULT now()
);

CREATE TABLE posts (
    id SERIAL PRIMARY KEY,
    title TEXT NOT NULL,
    author_id {id} REFERENCES {table}(id) ON DELETE SET NULL,
    created_at TIMESTAMPTZ DEFAULT now()
);"
        )
    }

    fn join(&self) -> String {
        let table = self.table();
        format!(
            "SELECT posts.title, coalesce(author.name, 'somebody') AS author
FROM posts
LEFT JOIN {table} AS author ON author.id = posts.author_id AND author.deleted_at IS NULL;"
        )
    }

    fn grants(&self) -> String {
        let table = self.table();
        let schema = table.trim_end_matches(".users_sync");
        format!("GRANT USAGE ON SCHEMA {schema} TO app;\nGRANT SELECT, REFERENCES ON {table} TO app;")
    }

    fn drizzle(&self) -> String {
        let kind = match self.id_type {
            IdType::Uuid => "uuid",
            IdType::Text => "text",
        };
        let import = if kind == "text" { "" } else { ", uuid" };
        let schema = &self.schema;
        format!(
            "import {{ jsonb, pgSchema, pgTable, serial, text, timestamp{import} }} from \"drizzle-orm/pg-core\";

export const usersSync = pgSchema({schema:?}).table(\"users_sync\", {{
  id: {kind}(\"id\").primaryKey(),
  name: text(\"name\"),
  email: text(\"email\"),
  createdAt: timestamp(\"created_at\", {{ withTimezone: true }}),
  updatedAt: timestamp(\"updated_at\", {{ withTimezone: true }}),
  deletedAt: timestamp(\"deleted_at\", {{ withTimezone: true }}),
  rawJson: jsonb(\"raw_json\").notNull(),
}});

export const todos = pgTable(\"todos\", {{
  id: serial(\"id\").primaryKey(),
  task: text(\"task\").notNull(),
  userId: {kind}(\"user_id\").notNull().references(() => usersSync.id, {{ onDelete: \"cascade\" }}),
}});

// drizzle.config.ts: schemaFilter: [\"public\"], so that drizzle-kit leaves the table to usertap."
        )
    }

    fn prisma(&self) -> String {
        let (schema, id) = (
            &self.schema,
            match self.id_type {
                IdType::Uuid => "String    @id @db.Uuid",
                IdType::Text => "String    @id",
            },
        );
        let reference = match self.id_type {
            IdType::Uuid => "String   @map(\"user_id\") @db.Uuid",
            IdType::Text => "String   @map(\"user_id\")",
        };
        format!(
            "datasource db {{
  provider = \"postgresql\"
  url      = env(\"DATABASE_URL\")
  schemas  = [\"public\", {schema:?}]
}}

model UserSync {{
  id        {id}
  name      String?
  email     String?
  createdAt DateTime? @map(\"created_at\") @db.Timestamptz
  updatedAt DateTime? @map(\"updated_at\") @db.Timestamptz
  deletedAt DateTime? @map(\"deleted_at\") @db.Timestamptz
  rawJson   Json      @map(\"raw_json\")
  todos     Todo[]

  @@map(\"users_sync\")
  @@schema({schema:?})
}}

model Todo {{
  id     Int      @id @default(autoincrement())
  task   String
  userId {reference}
  user   UserSync @relation(fields: [userId], references: [id], onDelete: Cascade)

  @@map(\"todos\")
  @@schema(\"public\")
}}"
        )
    }

    fn bearer(&self) -> &'static str {
        match self.has_token {
            true => " -H \"Authorization: Bearer $USERTAP_ADMIN_TOKEN\"",
            false => "",
        }
    }

    fn feed(&self) -> String {
        let (bearer, admin) = (self.bearer(), &self.admin);
        format!("curl -N{bearer} -H 'Accept: application/x-ndjson' \\\n  '{admin}/v1/changes?since=oldest'")
    }

    fn slot(&self) -> String {
        let (bearer, admin) = (self.bearer(), &self.admin);
        format!(
            "curl -X PUT{bearer} -d '{{\"since\": \"oldest\"}}' {admin}/v1/slots/mailer
curl{bearer} '{admin}/v1/slots/mailer/changes?wait=25s'"
        )
    }

    fn rows(&self) -> String {
        let (bearer, admin) = (self.bearer(), &self.admin);
        format!("curl{bearer} '{admin}/v1/users?limit=100'\ncurl{bearer} '{admin}/v1/users?q=ada'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_of_any_name_is_quoted() {
        let place = |schema: &str| Place {
            schema: schema.into(),
            id_type: IdType::Text,
            base: String::new(),
            admin: String::new(),
            has_token: false,
        };
        assert_eq!(place("neon_auth").table(), "neon_auth.users_sync");
        assert_eq!(place("My Auth").table(), "\"My Auth\".users_sync");
        assert!(
            place("neon_auth")
                .foreign_keys()
                .contains("user_id TEXT NOT NULL REFERENCES neon_auth.users_sync(id)")
        );
    }
}
