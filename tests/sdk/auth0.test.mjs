// The real auth0, unchanged, before a stand-in through usertap, which it reaches by TLS alone.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ManagementClient } from "auth0";
import { AuthenticationClient, UserInfoClient } from "auth0/legacy";

import { refusal } from "./harness/stand-in.mjs";
import { Served } from "./harness/served.mjs";
import { auth0 } from "./stand-ins/auth0.mjs";

const TLS = new URL("../fixtures/tls/", import.meta.url).pathname;

let provider;
let served;
let users;
let domain;

before(async () => {
  provider = await auth0();
  for (let n = 0; n < 120; n += 1) provider.create({ body: { connection: "db", email: `seed${n}@example.com` } });
  const { client_id: clientId, client_secret: clientSecret } = provider.client;
  served = await Served.start({
    USERTAP_PROVIDER: "auth0",
    USERTAP_UPSTREAM: provider.url,
    AUTH0_CLIENT_ID: clientId,
    AUTH0_CLIENT_SECRET: clientSecret,
    USERTAP_TLS_CERT: `${TLS}cert.pem`,
    USERTAP_TLS_KEY: `${TLS}key.pem`,
    USERTAP_CACHE_TTL: "1s",
  });
  domain = new URL(served.proxy).host;
  ({ users } = new ManagementClient({ domain, clientId, clientSecret, audience: `${provider.url}/api/v2/` }));
});
after(async () => {
  const code = await served?.end();
  await provider?.end();
  assert.equal(code, 0, "usertap ended as it should");
});

async function assertLevel(id) {
  const user = provider.users.get(id);
  await served.assertLevel(id, user, user);
}

test("a backfill", async () => {
  const { state, fetched } = await served.walk("backfill");
  assert.deepEqual([state, fetched], ["done", 120]);
  for (const id of [...provider.users.keys()].slice(0, 5)) await assertLevel(id);
});

test("create, read, update with metadata, block", async () => {
  const { user_id: id } = await users.create({ connection: "db", email: "ada@example.com", password: "long enough", user_metadata: { a: 1 } });
  await assertLevel(id);
  assert.equal((await users.get(id)).email, "ada@example.com");
  const { user_metadata: merged } = await users.update(id, { name: "Ada Lovelace", user_metadata: { b: 2 } });
  assert.deepEqual(merged, { a: 1, b: 2 });
  await assertLevel(id);
  await users.update(id, { blocked: true });
  await assertLevel(id);
  assert.equal((await users.get(id)).blocked, true);
  assert.equal((await users.listUsersByEmail({ email: "ada@example.com" }))[0].blocked, true);
});

test("a list, the pages after it, and a search", async () => {
  const ids = [];
  for await (const { user_id: id } of await users.list({ per_page: 50 })) ids.push(id);
  assert.deepEqual(ids, [...provider.users.keys()]);
  const { data } = await users.list({ q: 'email:"seed7@example.com"', search_engine: "v3" });
  assert.deepEqual(data.map(({ email }) => email), ["seed7@example.com"]);
});

test("delete, whoever is gone, and an address that is taken", async () => {
  const { user_id: id } = await users.create({ connection: "db", email: "eve@example.com" });
  await users.delete(id);
  assert.ok((await served.row(id)).deleted_at);
  const { user_id: other } = await users.create({ connection: "db", email: "eve@example.com" });
  provider.users.delete(other);
  const gone = await refusal(users.get(other));
  assert.deepEqual([gone.name, gone.body.errorCode], ["NotFoundError", "inexistent_user"]);
  assert.ok((await served.row(other)).deleted_at, "its own not-found");
  const taken = await refusal(users.create({ connection: "db", email: "seed1@example.com" }));
  assert.equal(taken.name, "ConflictError");
});

test("a sign-up, and who has a token", async () => {
  const { database } = new AuthenticationClient({ domain, clientId: provider.client.client_id });
  const { data } = await database.signUp({ connection: "db", email: "flo@example.com", password: "long enough" });
  await assertLevel(`auth0|${data.id}`);
  const { user_id: id } = provider.create({ body: { connection: "db", email: "gil@example.com" } }).body;
  assert.equal((await new UserInfoClient({ domain }).getUserInfo(`of-${id}`)).data.sub, id);
  await assertLevel(id);
});

test("a limit, which the SDK waits for, an outage, and usertap's own error", async () => {
  const [id] = provider.users.keys();
  provider.refuse("GET /api/v2/users/", provider.error(429, "Too Many Requests", "Global limit has been reached", "too_many_requests"));
  assert.equal((await users.get(id)).user_id, id);
  const down = provider.error(503, "Service Unavailable", "Down", "down");
  await provider.out("GET /api/v2/users/", down, () => users.get(id));
  const refused = await refusal(users.get("auth0|nobody", {}, { maxRetries: 0 }));
  assert.deepEqual([refused.statusCode, refused.body.message], [503, "Down"]);
  await provider.end();
  const own = await refusal(users.get("auth0|nobody", {}, { maxRetries: 0 }));
  assert.deepEqual([own.statusCode, own.body.errorCode], [502, "upstream-unreachable"]);
});

test("usertap logged no e-mail address and no key", () => {
  assert.doesNotMatch(served.log, /@example\.com|secret-of|token-of/);
});
