// Kratos' admin API, as its description has it.
import { randomUUID } from "node:crypto";
import { StandIn } from "../harness/stand-in.mjs";

export async function kratos() {
  const users = new Map();
  let clock = Date.parse("2026-01-01T00:00:00.000Z");
  const now = () => new Date((clock += 1000)).toISOString().replace("Z", "456Z");
  const error = (code, status, message, reason) => ({ status: code, body: { error: { code, status, request: randomUUID(), reason, message } } });
  const nobody = () => error(404, "Not Found", "Unable to locate the resource");
  const one = (answer) => (asked) => (users.has(asked.params.id) ? answer(users.get(asked.params.id), asked) : nobody());

  function list({ query }) {
    let found = [...users.values()];
    if (query.credentials_identifier) found = found.filter(({ traits }) => traits.email === query.credentials_identifier);
    const from = query.page_token ? found.findIndex(({ id }) => id === query.page_token) + 1 : 0;
    const size = Number(query.page_size ?? 250);
    const page = found.slice(from, from + size);
    const link = [`</admin/identities?page_size=${size}&page_token=00000000-0000-0000-0000-000000000000>; rel="first"`];
    if (from + page.length < found.length) link.push(`</admin/identities?page_size=${size}&page_token=${page.at(-1).id}>; rel="next"`);
    return { body: page, headers: { link: link.join(",") } };
  }

  function make({ schema_id = "default", traits, state = "active", metadata_public = null, metadata_admin = null }) {
    const at = now();
    const id = randomUUID();
    const address = { id: randomUUID(), value: traits.email, verified: false, via: "email", status: "pending", created_at: at, updated_at: at };
    users.set(id, { id, schema_id, schema_url: `${standIn.url}/schemas/ZGVmYXVsdA`, state, state_changed_at: at, traits, verifiable_addresses: [address], recovery_addresses: [], metadata_public, metadata_admin, created_at: at, updated_at: at, organization_id: null });
    return users.get(id);
  }
  function create(body) {
    if ([...users.values()].some(({ traits }) => traits.email === body.traits.email)) return error(409, "Conflict", "Unable to insert or update resource because a resource with that value exists already");
    return { status: 201, body: make(body) };
  }
  const changed = (user, change) => ({ body: Object.assign(user, change, { updated_at: now() }) });
  function patch(user, { body }) {
    for (const { op, path, value } of body) {
      const parts = path.slice(1).split("/");
      const last = parts.pop();
      const at = parts.reduce((inner, part) => inner[part], user);
      if (op === "remove") delete at[last];
      else at[last] = value;
    }
    return changed(user, {});
  }

  const standIn = await StandIn.start({
    "GET /admin/identities": list,
    "POST /admin/identities": ({ body }) => create(body),
    "PATCH /admin/identities": ({ body }) => ({ body: { identities: body.identities.map(({ create, patch_id }) => ({ action: "create", identity: make(create).id, patch_id })) } }),
    "GET /admin/identities/:id": one((user) => ({ body: user })),
    "GET /admin/identities/by/external/:external": () => nobody(),
    "PUT /admin/identities/:id": one((user, { body: { schema_id, traits, state, metadata_public = null, metadata_admin = null } }) => changed(user, { schema_id, traits, state, metadata_public, metadata_admin })),
    "PATCH /admin/identities/:id": one(patch),
    "DELETE /admin/identities/:id": one((user) => (users.delete(user.id), { status: 204 })),
    "DELETE /admin/identities/:id/sessions": one(() => ({ status: 204 })),
  });
  return Object.assign(standIn, { users, make, error });
}
