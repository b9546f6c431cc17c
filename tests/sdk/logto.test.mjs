// The real @logto/api, unchanged, before a stand-in through usertap.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createManagementApi } from "@logto/api/management";

import { Served } from "./harness/served.mjs";
import { logto } from "./stand-ins/logto.mjs";

let provider;
let served;
let api;

before(async () => {
  provider = await logto();
  for (let n = 0; n < 130; n += 1) provider.make({ primaryEmail: `seed${n}@example.com` });
  const { id: clientId, secret: clientSecret } = provider.client;
  served = await Served.start({
    USERTAP_PROVIDER: "logto",
    USERTAP_UPSTREAM: provider.url,
    LOGTO_APP_ID: clientId,
    LOGTO_APP_SECRET: clientSecret,
    LOGTO_API_RESOURCE: provider.resource,
    USERTAP_CACHE_TTL: "1s",
  });
  ({ apiClient: api } = createManagementApi("default", { clientId, clientSecret, baseUrl: served.proxy, apiIndicator: provider.resource }));
});
after(async () => {
  const code = await served?.end();
  await provider?.end();
  assert.equal(code, 0, "usertap ended as it should");
});

async function done(running) {
  const { data, error } = await running;
  assert.equal(error, undefined);
  return data;
}

async function refused(running) {
  const { error, response } = await running;
  return [response.status, error?.code];
}

function of(userId, body) {
  return { params: { path: { userId } }, body };
}

const read = (id) => api.GET("/api/users/{userId}", of(id));
const create = (body) => api.POST("/api/users", { body });

async function assertLevel(id) {
  const { hasPassword: _, ssoIdentities: __, ...kept } = provider.users.get(id);
  await served.assertLevel(id, kept, { name: kept.name ?? kept.username, email: kept.primaryEmail });
}

test("a backfill", async () => {
  const { state, fetched } = await served.walk("backfill");
  assert.deepEqual([state, fetched], ["done", 130]);
  for (const id of [...provider.users.keys()].slice(0, 5)) await assertLevel(id);
});

test("create, read, update, custom data, profile, password, suspend", async () => {
  const { id } = await done(create({ primaryEmail: "ada@example.com", username: "ada", name: "Ada" }));
  await assertLevel(id);
  assert.equal((await done(read(id))).name, "Ada");
  for (const [path, body] of [
    ["", { name: "Ada Lovelace" }],
    ["/custom-data", { customData: { plan: "pro" } }],
    ["/profile", { profile: { givenName: "Ada" } }],
    ["/password/expiration", { isExpired: true }],
    ["/is-suspended", { isSuspended: true }],
  ]) {
    await done(api.PATCH(`/api/users/{userId}${path}`, of(id, body)));
    await assertLevel(id);
  }
});

test("a list, page by page, and a search", async () => {
  const ids = new Set();
  for (let page = 1; ids.size < provider.users.size; page += 1) {
    const listed = await done(api.GET("/api/users", { params: { query: { page, page_size: 50 } } }));
    assert.ok(listed.length, "the list ended early");
    for (const { id } of listed) ids.add(id);
  }
  const [one] = await done(api.GET("/api/users", { params: { query: { search: "%seed7@%" } } }));
  assert.equal(one.primaryEmail, "seed7@example.com");
});

test("delete, whoever is gone, and a name that is taken", async () => {
  const { id } = await done(create({ username: "eve" }));
  await done(api.DELETE("/api/users/{userId}", of(id)));
  assert.ok((await served.row(id)).deleted_at);
  const { id: other } = await done(create({ username: "eve" }));
  provider.users.delete(other);
  assert.deepEqual(await refused(read(other)), [404, "entity.not_exists_with_id"]);
  assert.ok((await served.row(other)).deleted_at, "its own not-found");
  assert.deepEqual(await refused(create({ username: "ada" })), [422, "user.username_already_in_use"]);
});

test("an outage, and usertap's own error", async () => {
  const [id] = provider.users.keys();
  await provider.out("GET /api/users/", provider.error(503, "down", "Down"), () => done(read(id)));
  assert.deepEqual(await refused(read("nobody")), [503, "down"]);
  await provider.end();
  assert.deepEqual(await refused(read("nobody")), [502, "upstream-unreachable"]);
});

test("usertap logged no e-mail address and no key", () => {
  assert.doesNotMatch(served.log, /@example\.com|secret-of|token-of/);
});
