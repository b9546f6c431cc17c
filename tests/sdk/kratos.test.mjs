// The real @ory/kratos-client, unchanged, before a stand-in through usertap.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Configuration, IdentityApi } from "@ory/kratos-client";

import { refusal } from "./harness/stand-in.mjs";
import { Served } from "./harness/served.mjs";
import { kratos } from "./stand-ins/kratos.mjs";

let provider;
let served;
let identities;

before(async () => {
  provider = await kratos();
  for (let n = 0; n < 260; n += 1) provider.make({ traits: { email: `seed${n}@example.com` } });
  served = await Served.start({
    USERTAP_PROVIDER: "kratos",
    USERTAP_UPSTREAM: provider.url,
    USERTAP_CACHE_TTL: "1s",
  });
  identities = new IdentityApi(new Configuration({ basePath: served.proxy }));
});
after(async () => {
  const code = await served?.end();
  await provider?.end();
  assert.equal(code, 0, "usertap ended as it should");
});

async function create(name) {
  const createIdentityBody = { schema_id: "default", traits: { email: `${name}@example.com` } };
  return (await identities.createIdentity({ createIdentityBody })).data.id;
}

async function assertLevel(id) {
  const user = provider.users.get(id);
  await served.assertLevel(id, user, { name: user.traits.name ?? null, email: user.traits.email });
}

test("a backfill over its links", async () => {
  const { state, fetched } = await served.walk("backfill");
  assert.deepEqual([state, fetched], ["done", 260]);
  for (const id of [...provider.users.keys()].slice(0, 5)) await assertLevel(id);
});

test("create, read, update with metadata, patch, many at once", async () => {
  const id = await create("ada");
  await assertLevel(id);
  const traits = { email: "ada@example.com", name: "Ada" };
  await identities.updateIdentity({ id, updateIdentityBody: { schema_id: "default", state: "active", traits, metadata_public: { plan: "pro" } } });
  await assertLevel(id);
  await identities.patchIdentity({ id, jsonPatch: [{ op: "replace", path: "/state", value: "inactive" }] });
  await assertLevel(id);
  assert.equal((await identities.getIdentity({ id, includeCredential: ["oidc"] })).data.state, "inactive");
  const body = (name) => ({ create: { schema_id: "default", traits: { email: `${name}@example.com` } } });
  const { data } = await identities.batchPatchIdentities({ patchIdentitiesBody: { identities: [body("bea"), body("cleo")] } });
  for (const { identity } of data.identities) await assertLevel(identity);
});

test("a list, the pages after it, and a search", async () => {
  const ids = [];
  for (let pageToken; pageToken !== null; ) {
    const { data, headers } = await identities.listIdentities({ pageSize: 100, pageToken });
    ids.push(...data.map(({ id }) => id));
    const [, next] = headers.link.match(/\?([^>]*)>; rel="next"/) ?? [];
    pageToken = new URLSearchParams(next).get("page_token");
  }
  assert.deepEqual(ids, [...provider.users.keys()]);
  const { data: [one] } = await identities.listIdentities({ credentialsIdentifier: "seed7@example.com" });
  assert.equal(one.traits.email, "seed7@example.com");
});

test("delete, whoever is gone, and an address that is taken", async () => {
  const id = await create("eve");
  await identities.deleteIdentity({ id });
  assert.ok((await served.row(id)).deleted_at);
  const other = await create("eve");
  provider.users.delete(other);
  assert.equal((await refusal(identities.getIdentity({ id: other }))).response.status, 404);
  assert.ok((await served.row(other)).deleted_at, "its own not-found");
  assert.equal((await refusal(create("seed1"))).response.status, 409);
});

test("an outage, and usertap's own error", async () => {
  const [id] = provider.users.keys();
  const nobody = () => refusal(identities.getIdentity({ id: "8b2d5a3e-1111-4c1a-9a37-000000000001" }));
  const down = provider.error(503, "Service Unavailable", "Down");
  await provider.out("GET /admin/identities/", down, async () => (await identities.getIdentity({ id })).data);
  assert.equal((await nobody()).response.data.error.message, "Down");
  await provider.end();
  const { response } = await nobody();
  assert.deepEqual([response.status, response.data.error.status], [502, "upstream-unreachable"]);
});

test("usertap logged no e-mail address", () => {
  assert.doesNotMatch(served.log, /@example\.com/);
});
