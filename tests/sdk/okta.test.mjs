// The real @okta/okta-sdk-nodejs, unchanged, before a stand-in through usertap.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import okta from "@okta/okta-sdk-nodejs";

import { refusal } from "./harness/stand-in.mjs";
import { Served } from "./harness/served.mjs";
import { okta as standIn } from "./stand-ins/okta.mjs";

let provider;
let served;
let client;
let users;

before(async () => {
  provider = await standIn();
  for (let n = 0; n < 230; n += 1) provider.create({ body: { profile: profile(`seed${n}`) } });
  served = await Served.start({
    USERTAP_PROVIDER: "okta",
    USERTAP_UPSTREAM: provider.url,
    OKTA_CLIENT_TOKEN: provider.token,
    USERTAP_CACHE_TTL: "1s",
  });
  client = new okta.Client({ orgUrl: served.proxy, token: provider.token });
  users = client.userApi;
});
after(async () => {
  const code = await served?.end();
  await provider?.end();
  assert.equal(code, 0, "usertap ended as it should");
});

function profile(name) {
  return { login: `${name}@example.com`, email: `${name}@example.com`, firstName: name, lastName: "Example" };
}

async function create(name) {
  return (await users.createUser({ body: { profile: profile(name) } })).id;
}

async function assertLevel(id) {
  const { type: _, ...kept } = provider.users.get(id);
  const { firstName, lastName, email } = kept.profile;
  await served.assertLevel(id, kept, { name: `${firstName} ${lastName}`, email });
}

test("a backfill over its links", async () => {
  const { state, fetched } = await served.walk("backfill");
  assert.deepEqual([state, fetched], ["done", 230]);
  for (const id of [...provider.users.keys()].slice(0, 5)) await assertLevel(id);
});

test("create, read by id and by login, update, suspend", async () => {
  const id = await create("ada");
  await assertLevel(id);
  const read = () => users.getUser({ userId: id });
  assert.equal((await read()).profile.email, "ada@example.com");
  assert.equal((await users.getUser({ userId: "ada@example.com" })).id, id);
  await users.updateUser({ userId: id, user: { profile: { lastName: "Lovelace" } } });
  await assertLevel(id);
  assert.equal((await read()).profile.lastName, "Lovelace");
  await users.replaceUser({ userId: "ada@example.com", user: { profile: { ...profile("ada"), lastName: "Byron" } } });
  await assertLevel(id);
  await users.suspendUser({ userId: id });
  await assertLevel(id);
  assert.equal((await read()).status, "SUSPENDED");
});

test("a list, the pages after it, which stay at usertap, and a search", async () => {
  const ids = [];
  await (await users.listUsers({ limit: 100 })).each(({ id }) => ids.push(id));
  assert.deepEqual(ids, [...provider.users.keys()]);
  const found = [];
  await (await users.listUsers({ search: 'profile.email eq "seed7@example.com"' })).each(({ profile }) => found.push(profile.login));
  assert.deepEqual(found, ["seed7@example.com"]);
});

test("whoever is named by a device", async () => {
  const { id } = provider.create({ body: { profile: profile("dev") } }).body;
  await (await client.deviceApi.listDeviceUsers({ deviceId: "guo1" })).each(({ user }) => assert.equal(user.id, id));
  await assertLevel(id);
});

test("deactivated, then deleted; whoever is gone, and a login that is taken", async () => {
  const id = await create("eve");
  await users.deleteUser({ userId: id });
  await assertLevel(id);
  await users.deleteUser({ userId: id });
  assert.ok((await served.row(id)).deleted_at);
  const other = await create("eve");
  provider.users.delete(other);
  const gone = await refusal(users.getUser({ userId: other }));
  assert.deepEqual([gone.status, gone.errorCode], [404, "E0000007"]);
  assert.ok((await served.row(other)).deleted_at, "its own not-found");
  assert.equal((await refusal(create("seed1"))).errorCode, "E0000001");
});

test("a limit, which the SDK waits for, an outage, and usertap's own error", async () => {
  const [id] = provider.users.keys();
  const read = () => users.getUser({ userId: id });
  provider.refuse("GET /api/v1/users/", provider.error(429, "E0000047", "API call exceeded rate limit due to too many requests.", [], 0));
  assert.equal((await read()).id, id);
  const down = provider.error(503, "E0000010", "Service is in read only mode.");
  await provider.out("GET /api/v1/users/", down, read);
  const refused = await refusal(users.getUser({ userId: "00unobody" }));
  assert.deepEqual([refused.status, refused.errorCode], [503, "E0000010"]);
  await provider.end();
  const own = await refusal(users.getUser({ userId: "00unobody" }));
  assert.deepEqual([own.status, own.errorCode], [502, "upstream-unreachable"]);
});

test("usertap logged no e-mail address and no key", () => {
  assert.doesNotMatch(served.log, /@example\.com|00token/);
});
