// The real Better Auth, an app of its own on the very Postgres that usertap writes to: its table and
// `users_sync` are joined in one statement, and must be equal.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { betterAuth } from "better-auth";
import { createAuthClient } from "better-auth/client";
import { adminClient } from "better-auth/client/plugins";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { admin, bearer } from "better-auth/plugins";
import pg from "pg";

import { Sandbox } from "./harness/sandbox.mjs";
import { Served, until } from "./harness/served.mjs";

const ADMIN = { email: "admin@example.com", password: "correct-horse-battery", name: "Admin" };

/** Whoever differs in anything, or is only on one side. */
const DIFFERENCES = `
  select coalesce(u.id, s.id) as id, u.name, s.name as row_name, u."updatedAt", s.raw_json ->> 'updatedAt' as row_updated
  from "user" u full join neon_identity.users_sync s on s.id = u.id
  where case
    when s.id is null then true
    when u.id is null then s.deleted_at is null
    else s.deleted_at is not null or
      (u.name, u.email, u."createdAt", u."updatedAt", u.role, coalesce(u.banned, false), u."emailVerified") is distinct from
      (s.name, s.email, s.created_at, s.updated_at, s.raw_json ->> 'role',
       coalesce((s.raw_json -> 'banned')::boolean, false), (s.raw_json -> 'emailVerified')::boolean)
  end`;

/** Its Postgres is all that is wanted of it. */
let postgres;
let sandbox;
let pool;
let app;
let served;
/** An admin's back end that asks usertap. */
let client;

before(async () => {
  sandbox = await Sandbox.start("--provider", "clerk", "--users", "0");
  postgres = await Served.start(sandbox.settings);
  await postgres.sql("create database app");
  const database = Object.assign(new URL(postgres.database), { pathname: "/app" }).href;
  pool = new pg.Pool({ connectionString: database });
  app = await startApp(pool);
  served = await Served.start({
    DATABASE_URL: database,
    USERTAP_PROVIDER: "better-auth",
    USERTAP_UPSTREAM: app.origin,
    BETTER_AUTH_ADMIN_EMAIL: ADMIN.email,
    BETTER_AUTH_ADMIN_PASSWORD: ADMIN.password,
  });
  const { token } = await app.auth.api.signInEmail({ body: ADMIN });
  client = createAuthClient({
    baseURL: served.proxy,
    plugins: [adminClient()],
    fetchOptions: { auth: { type: "Bearer", token } },
  });
});
after(async () => {
  const code = await served?.end();
  app?.server.closeAllConnections();
  app?.server.close();
  await pool?.end();
  await postgres?.end();
  await sandbox?.end();
  assert.equal(code, 0, "usertap ended as it should");
});

async function startApp(database) {
  const server = createServer((request, response) => handle(request, response));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const origin = `http://127.0.0.1:${server.address().port}`;
  const auth = betterAuth({
    baseURL: origin,
    secret: "a secret of thirty-two characters",
    database,
    emailAndPassword: { enabled: true },
    user: { deleteUser: { enabled: true } },
    plugins: [admin(), bearer()],
    telemetry: { enabled: false },
  });
  const handle = toNodeHandler(auth);
  await (await getMigrations(auth.options)).runMigrations();
  await auth.api.signUpEmail({ body: ADMIN });
  await database.query(`update "user" set role = 'admin'`);
  return { server, origin, auth };
}

function orThrow({ data, error }) {
  assert.equal(error, null, JSON.stringify(error));
  return data;
}

async function differences() {
  return served.sql(DIFFERENCES);
}

async function create(name) {
  const email = `${name.toLowerCase()}@example.com`;
  return orThrow(await client.admin.createUser({ name, email, password: "a long password", role: "user" })).user;
}

test("a backfill of everyone who was there before", async () => {
  await pool.query(`insert into "user" (id, name, email, "emailVerified", "createdAt", "updatedAt", role, banned)
    select 'seed' || n, 'Seed ' || n, 'seed' || n || '@example.com', false,
      timestamptz '2024-01-01' + n * interval '1 minute', timestamptz '2024-01-01' + n * interval '1 minute', 'user', false
    from generate_series(1, 250) as n`);
  const { state, fetched, total } = await served.walk("backfill");
  assert.deepEqual([state, fetched, total], ["done", 251, 251]);
  assert.deepEqual(await differences(), []);
});

test("createUser: the row is there with the answer", async () => {
  const ada = await create("Ada");
  assert.equal((await served.row(ada.id)).name, "Ada");
  assert.deepEqual(await differences(), []);
});

test("a sign-up, by whoever shows nothing", async () => {
  // As a browser on the app's own pages.
  const visitor = createAuthClient({ baseURL: served.proxy, fetchOptions: { headers: { origin: app.origin } } });
  const { user } = orThrow(await visitor.signUp.email({ name: "Visitor", email: "visitor@example.com", password: "a long password" }));
  assert.equal((await served.row(user.id)).email, "visitor@example.com");
  assert.deepEqual(await differences(), []);
});

test("updates, roles and bans, whose ids stand in bodies", async () => {
  const { id } = await create("Bea");
  orThrow(await client.admin.updateUser({ userId: id, data: { name: "Beatrice" } }));
  assert.equal((await served.row(id)).name, "Beatrice");
  assert.deepEqual(await differences(), []);
  orThrow(await client.admin.setRole({ userId: id, role: "admin" }));
  assert.equal((await served.row(id)).raw_json.role, "admin");
  orThrow(await client.admin.banUser({ userId: id, banReason: "spam" }));
  assert.equal((await served.row(id)).raw_json.banReason, "spam");
  orThrow(await client.admin.unbanUser({ userId: id }));
  assert.deepEqual(await differences(), []);
});

test("reads and lists show what Better Auth shows, and bring whom nobody has seen", async () => {
  const { user } = await app.auth.api.signUpEmail({ body: { name: "Direct", email: "direct@example.com", password: "a long password" } });
  assert.equal(await served.row(user.id), undefined, "made within the app: no HTTP, no row");
  const read = orThrow(await client.admin.getUser({ query: { id: user.id } }));
  assert.equal(read.email, "direct@example.com");
  assert.equal((await served.row(user.id)).name, "Direct");
  const listed = orThrow(await client.admin.listUsers({ query: { limit: 5, sortBy: "createdAt", sortDirection: "desc" } }));
  assert.equal(listed.users.length, 5);
  assert.deepEqual(await differences(), []);
});

test("removeUser, and a read of whoever is gone", async () => {
  const { id } = await create("Cleo");
  orThrow(await client.admin.removeUser({ userId: id }));
  assert.ok((await served.row(id)).deleted_at);
  const { id: other } = await create("Dora");
  await pool.query(`delete from "user" where id = $1`, [other]);
  const { error } = await client.admin.getUser({ query: { id: other } });
  assert.equal(error.code, "USER_NOT_FOUND");
  assert.ok((await served.row(other)).deleted_at, "its own not-found");
  assert.deepEqual(await differences(), []);
});

test("a list that lies on an error deletes nobody and is no end", async () => {
  const lie = orThrow(await client.admin.listUsers({ query: { sortBy: "nosuch" } }));
  assert.deepEqual([lie.users, lie.total], [[], 0], "200, and nobody");
  assert.deepEqual(await differences(), []);
  await pool.query(`alter table "user" rename column "createdAt" to "elsewhere"`);
  try {
    const { state, error } = await served.walk("reconcile");
    assert.equal(state, "failed");
    assert.match(error, /although users are known/);
  } finally {
    await pool.query(`alter table "user" rename column "elsewhere" to "createdAt"`);
  }
  assert.deepEqual(await differences(), []);
});

test("a reconcile finds what was done within the app", async () => {
  await pool.query(`update "user" set name = 'Renamed', "updatedAt" = date_trunc('milliseconds', now()) where id = 'seed7'`);
  await pool.query(`delete from "user" where id = 'seed8'`);
  assert.equal((await differences()).length, 2);
  const { state } = await served.walk("reconcile");
  assert.equal(state, "done");
  assert.deepEqual(await differences(), []);
});

test("polling brings what is done within the app", async () => {
  const polling = await Served.start({
    USERTAP_PROVIDER: "better-auth",
    USERTAP_UPSTREAM: app.origin,
    BETTER_AUTH_ADMIN_EMAIL: ADMIN.email,
    BETTER_AUTH_ADMIN_PASSWORD: ADMIN.password,
    USERTAP_POLL_EVERY: "1s",
  });
  try {
    await until(async () => (await polling.status()).freshness.poll !== null);
    const { user } = await app.auth.api.signUpEmail({ body: { name: "Fay", email: "fay@example.com", password: "a long password" } });
    await until(async () => (await polling.row(user.id))?.name === "Fay");
    await pool.query(`update "user" set name = 'Polled', "updatedAt" = date_trunc('milliseconds', now()) where id = 'seed9'`);
    await until(async () => (await polling.row("seed9"))?.name === "Polled");
    const { poll, problems } = await polling.status();
    assert.deepEqual([poll.trouble, problems], [null, []]);
  } finally {
    assert.equal(await polling.end(), 0);
  }
});

test("usertap logged no e-mail address and no password", () => {
  assert.doesNotMatch(served.log, /@example\.com|horse/);
});
