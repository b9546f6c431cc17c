// A real SCIM 2.0 server, scim2-server, with the file to begin from; the client is scim2-client, as scim2-tester drives it.
// It speaks HTTP/1.0, answers PATCH with 204, and keeps everybody in memory: a restart forgets them.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { freePort } from "./harness/process.mjs";
import { Served, until } from "./harness/served.mjs";

const PYTHON = process.env.USERTAP_PYTHON;
const FILE = new URL("../fixtures/providers/scim.toml", import.meta.url).pathname;
const TOKEN = "a-token-of-some-length";
const USER = "urn:ietf:params:scim:schemas:core:2.0:User";
const PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

let port;
let server;
let served;

before(async () => {
  port = await freePort();
  server = await startServer();
  served = await Served.start({
    USERTAP_PROVIDER: FILE,
    USERTAP_UPSTREAM: `http://127.0.0.1:${port}`,
    SCIM_TOKEN: TOKEN,
  });
});
after(async () => {
  const code = await served?.end();
  await endServer();
  assert.equal(code, 0, "usertap ended as it should");
});

/** As a tenant it serves below `/scim/v2`. */
async function startServer() {
  const args = ["--port", `${port}`, "--bearer-token", TOKEN, "--tenant", "scim"];
  const child = spawn(join(dirname(PYTHON), "scim2-server"), args, { stdio: "ignore" });
  process.once("exit", () => child.kill("SIGKILL"));
  await until(async () => (await direct("GET", "/Users?count=0").catch(() => undefined))?.status === 200);
  return child;
}

async function endServer() {
  if (!server) return;
  const ended = once(server, "exit");
  server.kill("SIGKILL");
  await ended;
}

async function send(base, method, path, body, token = TOKEN) {
  const answer = await fetch(`${base}/scim/v2${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/scim+json" },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text ? JSON.parse(text) : undefined };
}

/** Behind usertap's back. */
function direct(method, path, body) {
  return send(`http://127.0.0.1:${port}`, method, path, body);
}

function through(method, path, body, token) {
  return send(served.proxy, method, path, body, token);
}

function named(name) {
  const emails = [{ value: `${name}@example.com`, primary: true }];
  return { schemas: [USER], userName: name, displayName: `Display ${name}`, emails };
}

function renamed(name) {
  return { schemas: [PATCH], Operations: [{ op: "replace", path: "displayName", value: name }] };
}

/** Whoever differs in anything, or is only on one side. */
async function differences() {
  const { body } = await direct("GET", "/Users?count=1000");
  const users = new Map((body.Resources ?? []).map((user) => [user.id, user]));
  assert.equal(users.size, body.totalResults);
  const rows = await served.sql("select id, raw_json from neon_identity.users_sync where deleted_at is null");
  const ids = new Set([...users.keys(), ...rows.map(({ id }) => id)]);
  const row = new Map(rows.map(({ id, raw_json: raw }) => [id, raw]));
  return [...ids].filter((id) => !equal(users.get(id), row.get(id)));
}

function equal(one, other) {
  try {
    assert.deepEqual(one, other);
    return true;
  } catch {
    return false;
  }
}

/** The row says what the server does, at this very moment. */
async function assertLevel(id) {
  const { body } = await direct("GET", `/Users/${id}`);
  await served.assertLevel(id, body, { name: body.displayName ?? null, email: body.emails?.[0].value ?? null });
}

test("a backfill of more than a page", async () => {
  for (let at = 0; at < 130; at++) assert.equal((await direct("POST", "/Users", named(`seed${at}`))).status, 201);
  const { state, fetched, total } = await served.walk("backfill");
  assert.deepEqual([state, fetched, total], ["done", 130, 130]);
  assert.deepEqual(await differences(), []);
});

test("create, change, replace and delete: the row is there with the answer", async () => {
  const made = await through("POST", "/Users", named("ada"));
  assert.equal(made.status, 201);
  const { id } = made.body;
  const own = new URL(served.proxy).origin;
  assert.equal(new URL(made.headers.get("location")).origin, own, "whoever follows it stays with usertap");
  await assertLevel(id);
  assert.equal((await through("PATCH", `/Users/${id}`, renamed("Ada King"))).status, 204);
  await assertLevel(id);
  assert.equal((await served.row(id)).name, "Ada King");
  const part = await through("PUT", `/Users/${id}?attributes=userName`, named("ada"));
  assert.equal(part.body.displayName, undefined, "a part was asked for");
  await assertLevel(id);
  const read = await through("GET", `/Users/${id}`);
  assert.deepEqual(read.body, (await direct("GET", `/Users/${id}`)).body);
  assert.equal((await through("DELETE", `/Users/${id}`)).status, 204);
  assert.ok((await served.row(id)).deleted_at);
  assert.equal((await through("GET", `/Users/${id}`)).status, 404);
  assert.deepEqual(await differences(), []);
});

test("whoever shows another token changes nothing", async () => {
  const { body } = await through("POST", "/Users", named("bea"));
  const path = `/Users/${body.id}`;
  for (const [method, sent] of [["GET"], ["PATCH", renamed("Eve")], ["DELETE"]]) {
    assert.equal((await through(method, path, sent, "another")).status, 401, method);
    await assertLevel(body.id);
  }
});

test("a reconcile finds what nobody told", async () => {
  const { Resources: users } = (await direct("GET", "/Users?count=3")).body;
  await direct("DELETE", `/Users/${users[0].id}`);
  await direct("PATCH", `/Users/${users[1].id}`, renamed("Behind"));
  await direct("POST", "/Users", named("late"));
  assert.equal((await served.walk("reconcile")).state, "done");
  await until(async () => (await differences()).length === 0);
  assert.ok((await served.row(users[0].id)).deleted_at);
});

test("scim2-tester finds nothing wrong through usertap, and every row is the server's", async () => {
  const check = new URL("./python/check_scim.py", import.meta.url).pathname;
  const { stdout } = await promisify(execFile)(PYTHON, [check, `${served.proxy}/scim/v2`, TOKEN]);
  assert.match(stdout, /^\d+ checks\n$/);
  await until(async () => (await differences()).length === 0);
});

test("a server that forgot everybody deletes nobody by an empty list", async () => {
  await endServer();
  server = await startServer();
  const there = () => served.sql("select count(*)::int as n from neon_identity.users_sync where deleted_at is null");
  const known = await there();
  const { state, error } = await served.walk("reconcile");
  assert.equal(state, "failed");
  assert.match(error, /empty although users are known/);
  assert.deepEqual(await there(), known);
});
