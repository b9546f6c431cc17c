// The real @keycloak/keycloak-admin-client, unchanged, before a stand-in through usertap.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import KeycloakAdminClient from "@keycloak/keycloak-admin-client";

import { refusal } from "./harness/stand-in.mjs";
import { Served } from "./harness/served.mjs";
import { keycloak } from "./stand-ins/keycloak.mjs";

let provider;
let served;
let users;

before(async () => {
  provider = await keycloak();
  for (let n = 0; n < 130; n += 1) provider.make({ username: `seed${n}`, email: `seed${n}@example.com`, enabled: true });
  const { id: clientId, secret: clientSecret } = provider.client;
  served = await Served.start({
    USERTAP_PROVIDER: "keycloak",
    USERTAP_UPSTREAM: provider.url,
    KEYCLOAK_REALM: "shop",
    KEYCLOAK_CLIENT_ID: clientId,
    KEYCLOAK_CLIENT_SECRET: clientSecret,
    USERTAP_CACHE_TTL: "1s",
  });
  const client = new KeycloakAdminClient({ baseUrl: served.proxy, realmName: "shop" });
  await client.auth({ grantType: "client_credentials", clientId, clientSecret });
  ({ users } = client);
});
after(async () => {
  const code = await served?.end();
  await provider?.end();
  assert.equal(code, 0, "usertap ended as it should");
});

async function assertLevel(id) {
  const user = provider.users.get(id);
  const name = [user.firstName, user.lastName].filter(Boolean).join(" ") || user.username;
  await served.assertLevel(id, user, { name, email: user.email ?? null });
}

test("a backfill", async () => {
  const { state, fetched } = await served.walk("backfill");
  assert.deepEqual([state, fetched], ["done", 130]);
  for (const id of [...provider.users.keys()].slice(0, 5)) await assertLevel(id);
});

test("create, whose answer is a Location, read, update with attributes, block, password, sign-out", async () => {
  const { id } = await users.create({ username: "ada", email: "ada@example.com", enabled: true, attributes: { plan: ["pro"] } });
  await assertLevel(id);
  assert.equal((await users.findOne({ id })).email, "ada@example.com");
  await users.update({ id }, { firstName: "Ada", lastName: "Lovelace", attributes: { plan: ["free"] } });
  await assertLevel(id);
  assert.equal((await users.findOne({ id, userProfileMetadata: true })).firstName, "Ada");
  await users.update({ id }, { enabled: false });
  await assertLevel(id);
  await users.resetPassword({ id, credential: { temporary: true, type: "password", value: "long enough" } });
  await assertLevel(id);
  await users.logout({ id });
  await assertLevel(id);
});

test("a list, page by page, a count, and a search that shows less", async () => {
  const ids = [];
  for (let page = [0]; page.length; ids.push(...page.map(({ id }) => id))) page = await users.find({ first: ids.length, max: 50 });
  assert.equal(new Set(ids).size, provider.users.size);
  assert.equal(await users.count(), provider.users.size);
  const [{ id }] = await users.find({ email: "seed7@example.com", exact: true, briefRepresentation: true });
  await assertLevel(id);
});

test("delete, whoever is gone, and a name that is taken", async () => {
  const { id } = await users.create({ username: "eve" });
  await users.del({ id });
  assert.ok((await served.row(id)).deleted_at);
  const { id: other } = await users.create({ username: "eve" });
  provider.users.delete(other);
  assert.equal(await users.findOne({ id: other }), null);
  assert.ok((await served.row(other)).deleted_at, "its own not-found");
  assert.equal((await refusal(users.create({ username: "ada" }))).response.status, 409);
});

test("an outage, and usertap's own error", async () => {
  const [id] = provider.users.keys();
  await provider.out("GET /admin/realms/shop/users/", provider.error(503, "unavailable"), () => users.findOne({ id }));
  assert.equal((await refusal(users.findOne({ id: "nobody" }))).message, "unavailable");
  await provider.end();
  const { message, response } = await refusal(users.findOne({ id: "nobody" }));
  assert.deepEqual([response.status, message], [502, "upstream-unreachable"]);
});

test("usertap logged no e-mail address and no key", () => {
  assert.doesNotMatch(served.log, /@example\.com|secret-of/);
});
