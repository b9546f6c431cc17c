// The real @clerk/backend, unchanged: once before the sandbox itself, once before usertap. What it shows
// of the same users is the same, and the rows say what the provider says.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClerkClient } from "@clerk/backend";

import { Sandbox } from "./harness/sandbox.mjs";
import { Served } from "./harness/served.mjs";

/** Not kept, or written at most once an hour: see the descriptor. */
const ASIDE = ["private_metadata", "last_active_at", "last_sign_in_at"];
/** Two apps make two users of it: what must differ. */
const OWN = ["id", "created_at", "updated_at", "image_url", "primary_email_address_id", "email_addresses"];

let sandbox;
let served;
/** Asks the provider itself. */
let direct;
/** Asks usertap. */
let proxied;

before(async () => {
  sandbox = await Sandbox.start("--provider", "clerk", "--users", "30");
  served = await Served.start(sandbox.settings);
  const secretKey = sandbox.settings.CLERK_SECRET_KEY;
  direct = createClerkClient({ secretKey, apiUrl: sandbox.settings.USERTAP_UPSTREAM });
  proxied = createClerkClient({ secretKey, apiUrl: served.proxy });
  await served.sql(`create table todos (
    id serial primary key,
    task text not null,
    user_id text not null references neon_identity.users_sync(id) on delete cascade
  )`);
});
after(async () => {
  const code = await served?.end();
  await sandbox?.end();
  assert.equal(code, 0, "usertap ended as it should");
});

function without(fields, user) {
  return Object.fromEntries(Object.entries(user).filter(([field]) => !fields.includes(field)));
}

/** The row is the provider's user, at this very moment. */
async function assertLevel(id) {
  const [row, user] = [await served.row(id), await direct.users.getUser(id)];
  assert.ok(row, `there is no row of ${id}`);
  assert.deepEqual(without(ASIDE, row.raw_json), without(ASIDE, user.raw));
  assert.equal(row.name, user.fullName ?? user.username);
  assert.equal(row.email, user.primaryEmailAddress?.emailAddress ?? null);
  assert.equal(row.created_at.getTime(), user.createdAt);
  assert.equal(row.updated_at.getTime(), user.updatedAt);
  assert.equal(row.deleted_at, null);
  return row;
}

/** The same step by both ways, on a user of its own each; what it shows is the same. */
async function both(name, step) {
  const users = [];
  for (const [way, client] of Object.entries({ direct, proxied })) {
    users.push(await client.users.createUser({ emailAddress: [`${name}.${way}@example.com`], firstName: name }));
  }
  const [one, other] = [await step(direct.users, users[0].id), await step(proxied.users, users[1].id)];
  assert.deepEqual(without(OWN, other.raw), without(OWN, one.raw));
  await assertLevel(users[1].id);
  return users[1].id;
}

test("createUser, and at once a foreign key to the new user", async () => {
  const made = await proxied.users.createUser({
    emailAddress: ["ada@example.com"],
    firstName: "Ada",
    lastName: "Lovelace",
    externalId: "ext_1",
    publicMetadata: { camelKey: 1 },
    createdAt: new Date(0),
  });
  assert.equal(made.fullName, "Ada Lovelace");
  await served.sql("insert into todos (task, user_id) values ('analyse', $1)", [made.id]);
  const row = await assertLevel(made.id);
  assert.equal(row.raw_json.external_id, "ext_1");
});

test("an answer is read as JSON, whichever way it came: never the raw text", async () => {
  const [id] = (await direct.users.getUserList({ limit: 1 })).data.map((user) => user.id);
  for (let time = 0; time < 3; time++) {
    const shown = await proxied.users.getUser(id);
    assert.equal(typeof shown, "object");
    assert.deepEqual(shown.raw, (await direct.users.getUser(id)).raw);
  }
  assert.ok((await served.status()).cache.hits >= 2, "the second and the third were kept answers");
});

test("getUserList, whose list and count go out together", async () => {
  const asked = { limit: 20, offset: 5, orderBy: "+created_at" };
  const [one, other] = [await direct.users.getUserList(asked), await proxied.users.getUserList(asked)];
  assert.equal(other.totalCount, one.totalCount);
  assert.deepEqual(other.data.map((user) => user.raw), one.data.map((user) => user.raw));
  for (const { id } of other.data) await assertLevel(id);
  const first = one.data[0];
  const found = await proxied.users.getUserList({ emailAddress: [first.emailAddresses[0].emailAddress], userId: [first.id] });
  assert.deepEqual([found.totalCount, found.data.map((user) => user.id)], [1, [first.id]]);
});

test("getCount", async () => {
  assert.equal(await proxied.users.getCount(), await direct.users.getCount());
  assert.equal(await proxied.users.getCount({ query: "nobody at all" }), 0);
});

test("updateUser with metadata: a PATCH, then a PUT", () =>
  both("update", (users, id) => users.updateUser(id, { lastName: "King", publicMetadata: { role: "admin" } })));

test("updateUserMetadata merges, replaceUserMetadata replaces", async () => {
  await both("merge", async (users, id) => {
    await users.updateUserMetadata(id, { publicMetadata: { role: "admin", nested: { camelKey: 1 } } });
    return users.updateUserMetadata(id, { publicMetadata: { role: null, nested: { other: 2 } } });
  });
  const id = await both("replace", (users, id) => users.replaceUserMetadata(id, { publicMetadata: { only: true } }));
  assert.deepEqual((await served.row(id)).raw_json.public_metadata, { only: true });
});

test("privateMetadata reaches the app and no row", async () => {
  const id = await both("private", (users, id) => users.updateUserMetadata(id, { privateMetadata: { card: "4242" } }));
  assert.deepEqual((await proxied.users.getUser(id)).privateMetadata, { card: "4242" });
  assert.ok(!("private_metadata" in (await served.row(id)).raw_json));
});

test("banUser, lockUser, and back; banUsers by a list of ids", async () => {
  const id = await both("ban", async (users, id) => {
    await users.banUser(id);
    return users.lockUser(id);
  });
  assert.equal((await served.row(id)).raw_json.banned, true);
  await proxied.users.unbanUser(id);
  await proxied.users.unlockUser(id);
  assert.deepEqual([(await assertLevel(id)).raw_json.banned, (await served.row(id)).raw_json.locked], [false, false]);
});

test("updateUserProfileImage, which is no JSON", () =>
  both("image", (users, id) => users.updateUserProfileImage(id, { file: new Blob(["png"], { type: "image/png" }) })));

test("e-mail addresses: the new primary one is in the row before the answer", async () => {
  const { id } = await proxied.users.createUser({ emailAddress: ["first@example.com"] });
  const second = await proxied.emailAddresses.createEmailAddress({
    userId: id,
    emailAddress: "second@example.com",
    verified: true,
    primary: true,
  });
  assert.equal((await assertLevel(id)).email, "second@example.com");
  // Neither these requests nor their answers say whose address it is: the next read brings it.
  await proxied.emailAddresses.deleteEmailAddress(second.id);
  assert.equal((await proxied.users.getUser(id)).primaryEmailAddress.emailAddress, "first@example.com", "not a kept answer");
  assert.equal((await assertLevel(id)).email, "first@example.com");
});

test("organizations and their memberships", async () => {
  const { id } = await proxied.users.createUser({ firstName: "Member" });
  const organization = await proxied.organizations.createOrganization({ name: "Analysts" });
  const joined = await proxied.organizations.createOrganizationMembership({
    organizationId: organization.id,
    userId: id,
    role: "org:member",
  });
  assert.equal(joined.publicUserData.userId, id);
  const { data } = await proxied.organizations.getOrganizationMembershipList({ organizationId: organization.id });
  assert.deepEqual(data.map((member) => member.publicUserData.userId), [id]);
  await proxied.users.getOrganizationMembershipList({ userId: id });
  await proxied.organizations.deleteOrganizationMembership({ organizationId: organization.id, userId: id });
  await assertLevel(id);
});

test("deleteUser, and a read of whoever is gone: the same error as from the provider", async () => {
  const { id } = await proxied.users.createUser({ firstName: "Gone" });
  await proxied.users.deleteUser(id);
  assert.ok((await served.row(id)).deleted_at);
  const errors = [];
  for (const client of [direct, proxied]) errors.push(await client.users.getUser(id).catch((error) => error));
  assert.deepEqual(
    errors.map(({ status, errors: [first] }) => [status, first.code]),
    Array(2).fill([404, "resource_not_found"]),
  );
});

test("an error of usertap's own is one that the SDK understands", async () => {
  const nowhere = await Served.start({ ...sandbox.settings, USERTAP_UPSTREAM: sandbox.settings.USERTAP_UPSTREAM, USERTAP_RATE: "1/1h", USERTAP_TIMEOUT: "1s" });
  try {
    const client = createClerkClient({ secretKey: sandbox.settings.CLERK_SECRET_KEY, apiUrl: nowhere.proxy });
    const answers = await Promise.allSettled([1, 2, 3].map(() => client.users.getCount()));
    const refused = answers.find(({ status }) => status === "rejected").reason;
    assert.equal(refused.status, 429);
    assert.equal(refused.errors[0].code, "rate-limited");
    assert.ok(refused.retryAfter >= 1, `${refused.retryAfter}`);
  } finally {
    await nowhere.end();
  }
});

test("after a backfill every row is the provider's user, and none is missing", async () => {
  const { state, fetched } = await served.walk("backfill");
  const total = await direct.users.getCount();
  assert.deepEqual([state, fetched], ["done", total]);
  const { data } = await direct.users.getUserList({ limit: 500, orderBy: "+created_at" });
  for (const { id } of data) await assertLevel(id);
  const [{ count }] = await served.sql("select count(*)::int from neon_identity.users_sync where deleted_at is null");
  assert.equal(count, total);
});

test("usertap logged no e-mail address and no key", () => {
  assert.doesNotMatch(served.log, /@example\.com|sk_live_/);
});
