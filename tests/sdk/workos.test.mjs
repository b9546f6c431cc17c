// WorkOS' own emulator, driven by its official SDK through usertap.
import assert from "node:assert/strict";
import { Server } from "node:http";
import { after, before, test } from "node:test";
import { WorkOS } from "@workos-inc/node";
import { createEmulator } from "workos/emulate";

import { freePort } from "./harness/process.mjs";
import { Served, until } from "./harness/served.mjs";

const KEY = "sk_test_default";

let emulator;
let served;
let direct;
let proxied;

before(async () => {
  const port = await freePort();
  emulator = await onLoopback(() => createEmulator({ port, seed: { users: seeds(230) } }));
  served = await Served.start({
    USERTAP_PROVIDER: "workos",
    USERTAP_UPSTREAM: `http://127.0.0.1:${emulator.port}`,
    WORKOS_API_KEY: KEY,
    USERTAP_RATE: "100000/60s",
  });
  direct = sdk(emulator.port);
  proxied = sdk(new URL(served.proxy).port);
});
after(async () => {
  const code = await served?.end();
  await emulator?.close();
  assert.equal(code, 0, "usertap ended as it should");
});

/** It listens on all interfaces, unless it is told otherwise. */
async function onLoopback(start) {
  const { listen } = Server.prototype;
  Server.prototype.listen = function (port, ...rest) {
    return listen.call(this, port, "127.0.0.1", ...rest.filter((one) => typeof one === "function"));
  };
  try {
    return await start();
  } finally {
    Server.prototype.listen = listen;
  }
}

function seeds(many) {
  return Array.from({ length: many }, (_, n) => ({ email: `seed${n}@example.com`, first_name: "Seed", last_name: `${n}` }));
}

function sdk(port) {
  return new WorkOS(KEY, { apiHostname: "127.0.0.1", port: Number(port), https: false });
}

/** The row is the provider's user, at this very moment. */
async function assertLevel(id) {
  const user = await raw(`/user_management/users/${id}`);
  const row = await served.row(id);
  assert.ok(row, `there is no row of ${id}`);
  const { last_sign_in_at: _, ...lasting } = user;
  const { last_sign_in_at: __, ...kept } = row.raw_json;
  assert.deepEqual(kept, lasting);
  assert.equal(row.email, user.email);
  assert.equal(row.name, [user.first_name, user.last_name].filter(Boolean).join(" ") || null);
  assert.equal(row.created_at.getTime(), Date.parse(user.created_at));
  assert.equal(row.deleted_at, null);
}

/** Straight from the emulator, as it stands there. */
async function raw(path) {
  const answer = await fetch(`http://127.0.0.1:${emulator.port}${path}`, { headers: { authorization: `Bearer ${KEY}` } });
  assert.equal(answer.status, 200);
  return answer.json();
}

test("a backfill over its cursors", async () => {
  const { state, fetched } = await served.walk("backfill");
  assert.deepEqual([state, fetched], ["done", 230]);
  const { data } = await raw("/user_management/users?limit=100&order=desc");
  for (const { id } of data.slice(0, 20)) await assertLevel(id);
});

test("create, read by id and by external id, update", async () => {
  const users = proxied.userManagement;
  const ada = await users.createUser({ email: "ada@example.com", firstName: "Ada", externalId: "ext_1" });
  await assertLevel(ada.id);
  assert.deepEqual(await users.getUser(ada.id), await direct.userManagement.getUser(ada.id));
  assert.equal((await users.getUserByExternalId("ext_1")).id, ada.id);
  const renamed = await users.updateUser({ userId: ada.id, lastName: "Lovelace", metadata: { plan: "pro" } });
  assert.equal(renamed.lastName, "Lovelace");
  await assertLevel(ada.id);
});

test("a list, and the pages after it", async () => {
  const page = await proxied.userManagement.listUsers({ order: "asc" });
  const same = await direct.userManagement.listUsers({ order: "asc" });
  assert.deepEqual(page.data, same.data);
  const next = await proxied.userManagement.listUsers({ order: "asc", after: page.listMetadata.after });
  assert.notEqual(next.data[0].id, page.data[0].id);
});

test("a sign-in by password, which names its user beside tokens", async () => {
  const users = proxied.userManagement;
  const { id } = await users.createUser({ email: "bea@example.com", password: "a long password", emailVerified: true });
  const { user } = await users.authenticateWithPassword({ clientId: "client_1", email: "bea@example.com", password: "a long password" });
  assert.equal(user.id, id);
  await assertLevel(id);
  assert.doesNotMatch(JSON.stringify((await served.row(id)).raw_json), /token/);
});

test("delete, whose answer is empty, and a read of whoever is gone", async () => {
  const users = proxied.userManagement;
  const { id } = await users.createUser({ email: "cleo@example.com" });
  await users.deleteUser(id);
  assert.ok((await served.row(id)).deleted_at);
  const { id: other } = await users.createUser({ email: "dora@example.com" });
  await direct.userManagement.deleteUser(other);
  const [one, two] = await Promise.all([users, direct.userManagement].map((way) => way.getUser(other).catch((error) => error)));
  assert.deepEqual([one.name, one.status], [two.name, two.status]);
  assert.ok((await served.row(other)).deleted_at, "its own not-found");
});

test("a reconcile finds what was done elsewhere", async () => {
  const { data } = await raw("/user_management/users?limit=2&order=asc");
  await direct.userManagement.deleteUser(data[0].id);
  await direct.userManagement.updateUser({ userId: data[1].id, firstName: "Renamed" });
  const { state } = await served.walk("reconcile");
  assert.equal(state, "done");
  assert.ok((await served.row(data[0].id)).deleted_at);
  await assertLevel(data[1].id);
});

/** What is done past a usertap, and that its rows follow by this way alone. */
async function followsElsewhere(told, origin) {
  const elsewhere = direct.userManagement;
  const follows = (id, fits) => until(async () => fits(await told.row(id)));
  const { id } = await elsewhere.createUser({ email: `${origin}@example.com`, firstName: "Eve" });
  await follows(id, (row) => row?.raw_json.first_name === "Eve");
  await elsewhere.updateUser({ userId: id, firstName: "Eva" });
  await follows(id, (row) => row.raw_json.first_name === "Eva");
  const origins = await told.sql("select distinct origin from usertap.changes where id = $1", [id]);
  assert.deepEqual(origins, [{ origin }]);
  await elsewhere.deleteUser(id);
  await follows(id, (row) => row.deleted_at);
}

function another(settings) {
  return Served.start({
    USERTAP_PROVIDER: "workos",
    USERTAP_UPSTREAM: `http://127.0.0.1:${emulator.port}`,
    WORKOS_API_KEY: KEY,
    USERTAP_RATE: "100000/60s",
    ...settings,
  });
}

test("polling its events brings what was done elsewhere", async () => {
  const polling = await another({ USERTAP_POLL_EVERY: "1s" });
  try {
    await followsElsewhere(polling, "poll");
    const { poll, problems } = await polling.status();
    assert.deepEqual([poll.trouble, problems], [null, []]);
  } finally {
    assert.equal(await polling.end(), 0);
  }
});

test("its webhooks bring what was done elsewhere", async () => {
  const secret = "wh_of_this_very_endpoint";
  const told = await another({ WORKOS_WEBHOOK_SECRET: secret });
  try {
    const body = JSON.stringify({ endpoint_url: `${told.proxy}/_usertap/webhooks`, secret, events: [] });
    const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
    const made = await fetch(`http://127.0.0.1:${emulator.port}/webhook_endpoints`, { method: "POST", headers, body });
    assert.equal(made.status, 201);
    await followsElsewhere(told, "webhook");
    const { webhooks, problems } = await told.status();
    assert.deepEqual([webhooks.refused.signature, webhooks.malformed, problems], [0, 0, []]);
  } finally {
    assert.equal(await told.end(), 0);
  }
});

test("usertap logged no e-mail address and no key", () => {
  assert.doesNotMatch(served.log, /@example\.com|sk_test/);
});
