// The real @supabase/supabase-js, unchanged, before a stand-in through usertap: a server, and users themselves.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient } from "@supabase/supabase-js";

import { Served } from "./harness/served.mjs";
import { supabase } from "./stand-ins/supabase.mjs";

let provider;
let served;
let admin;
let app;

before(async () => {
  provider = await supabase();
  for (let n = 0; n < 120; n += 1) provider.make({ email: `seed${n}@example.com` });
  served = await Served.start({
    USERTAP_PROVIDER: "supabase",
    USERTAP_UPSTREAM: provider.url,
    SUPABASE_SECRET_KEY: provider.secret,
    USERTAP_CACHE_TTL: "1s",
  });
  // Node 20 has no WebSocket of its own, and nothing here is in real time.
  const options = { auth: { persistSession: false, autoRefreshToken: false }, realtime: { transport: class {} } };
  ({ admin } = createClient(served.proxy, provider.secret, options).auth);
  app = createClient(served.proxy, provider.anon, options).auth;
});
after(async () => {
  const code = await served?.end();
  await provider?.end();
  assert.equal(code, 0, "usertap ended as it should");
});

/** What the SDK gives beside no error. */
async function done(running) {
  const { data, error } = await running;
  assert.equal(error, null);
  return data;
}

async function refused(running) {
  const { error } = await running;
  assert.ok(error, "it was not refused");
  return [error.status, error.code];
}

async function assertLevel(id) {
  const user = provider.users.get(id);
  await served.assertLevel(id, user, { name: user.user_metadata.name ?? null, email: user.email });
}

test("a backfill", async () => {
  const { state, fetched } = await served.walk("backfill");
  assert.deepEqual([state, fetched], ["done", 120]);
  for (const id of [...provider.users.keys()].slice(0, 5)) await assertLevel(id);
});

test("a server: create, read, update with metadata, ban, link, invitation", async () => {
  const { user: { id } } = await done(admin.createUser({ email: "ada@example.com", password: "long enough", user_metadata: { name: "Ada" } }));
  await assertLevel(id);
  await done(admin.updateUserById(id, { user_metadata: { plan: "pro" }, app_metadata: { role: "editor" } }));
  await assertLevel(id);
  assert.equal((await done(admin.getUserById(id))).user.user_metadata.plan, "pro");
  await done(admin.updateUserById(id, { ban_duration: "1h" }));
  await assertLevel(id);
  await assertLevel((await done(admin.generateLink({ type: "magiclink", email: "link@example.com" }))).user.id);
  await assertLevel((await done(admin.inviteUserByEmail("invited@example.com"))).user.id);
});

test("a list, page by page", async () => {
  const ids = new Set();
  for (let page = 1; page; ) {
    const { users, nextPage } = await done(admin.listUsers({ page, perPage: 50 }));
    for (const { id } of users) ids.add(id);
    page = nextPage;
  }
  assert.equal(ids.size, provider.users.size);
});

test("users themselves: sign up, read, update, refresh, sign out, sign in", async () => {
  const eve = { email: "eve@example.com", password: "long enough" };
  const { user: { id } } = await done(app.signUp({ ...eve, options: { data: { name: "Eve" } } }));
  await assertLevel(id);
  assert.equal((await done(app.getUser())).user.id, id);
  await done(app.updateUser({ data: { name: "Eva" } }));
  await assertLevel(id);
  await done(app.refreshSession());
  await app.signOut();
  await done(app.signInWithPassword(eve));
  assert.deepEqual(await refused(app.signInWithPassword({ ...eve, email: "nobody@example.com" })), [400, "invalid_credentials"]);
  assert.deepEqual(await refused(app.signUp(eve)), [422, "user_already_exists"]);
});

test("deleted softly, then for good; whoever is gone, and an address that is taken", async () => {
  const made = async (email) => (await done(admin.createUser({ email }))).user.id;
  const soft = await made("soft@example.com");
  await done(admin.deleteUser(soft, true));
  assert.ok((await served.row(soft)).deleted_at);
  const hard = await made("hard@example.com");
  await done(admin.deleteUser(hard));
  assert.ok((await served.row(hard)).deleted_at);
  const other = await made("other@example.com");
  provider.users.delete(other);
  assert.deepEqual(await refused(admin.getUserById(other)), [404, "user_not_found"]);
  assert.ok((await served.row(other)).deleted_at, "its own not-found");
  const third = await made("third@example.com");
  provider.users.delete(third);
  const headers = { authorization: `Bearer ${provider.secret}`, apikey: provider.secret };
  const plain = await fetch(`${served.proxy}/auth/v1/admin/users/${third}`, { headers });
  assert.deepEqual([plain.status, (await plain.json()).error_code], [404, "user_not_found"]);
  assert.ok((await served.row(third)).deleted_at, "the same, told to whoever names no version");
  assert.deepEqual(await refused(admin.createUser({ email: "seed1@example.com" })), [422, "email_exists"]);
});

test("a limit, an outage, and usertap's own error", async () => {
  const [id] = provider.users.keys();
  const path = "GET /auth/v1/admin/users/";
  const nobody = () => admin.getUserById("8b2d5a3e-1111-4c1a-9a37-000000000001");
  const read = async () => (await done(admin.getUserById(id))).user;
  provider.refuse(path, provider.error(429, "over_request_rate_limit", "Request rate limit reached"));
  assert.deepEqual(await refused(nobody()), [429, "over_request_rate_limit"]);
  await provider.out(path, provider.error(503, "down", "Down"), read);
  assert.equal((await nobody()).error.name, "AuthRetryableFetchError");
  await provider.end();
  const { error } = await nobody();
  assert.deepEqual([error.name, error.status], ["AuthRetryableFetchError", 502]);
});

test("usertap logged no e-mail address and no key", () => {
  assert.doesNotMatch(served.log, /@example\.com|sb_secret/);
});
