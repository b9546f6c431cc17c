// Logto's Management API, as its documentation has it.
import { StandIn } from "../harness/stand-in.mjs";

const CLIENT = { id: "app_1", secret: "secret-of-app-1" };
const RESOURCE = "https://default.logto.app/api";

export async function logto() {
  const users = new Map();
  let made = 0;
  let clock = Date.parse("2026-01-01T00:00:00.000Z");
  const now = () => (clock += 1000);
  const error = (status, code, message) => ({ status, body: { code, message } });
  const guarded = (answer) => (asked) => (asked.headers.authorization === "Bearer token-of-logto" ? answer(asked) : error(401, "auth.unauthorized", "Unauthorized."));
  const one = (answer) => guarded((asked) => (users.has(asked.params.id) ? answer(users.get(asked.params.id), asked) : error(404, "entity.not_exists_with_id", "The `users` with ID does not exist.")));
  const changed = (user, change) => ({ body: Object.assign(user, change, { updatedAt: now() }) });

  function make({ primaryEmail = null, username = null, name = null }) {
    const at = now();
    const id = `u${`${(made += 1)}`.padStart(11, "0")}`;
    users.set(id, {
      id, username, primaryEmail, primaryPhone: null, name, avatar: null, customData: {}, identities: {}, lastSignInAt: null, createdAt: at, updatedAt: at,
      profile: {}, applicationId: null, isSuspended: false, hasPassword: true, ssoIdentities: [],
    });
    return users.get(id);
  }

  function list({ query }) {
    let found = [...users.values()];
    if (query.search) found = found.filter(({ primaryEmail }) => primaryEmail?.includes(query.search.replaceAll("%", "")));
    const [page, size] = [Number(query.page ?? 1), Number(query.page_size ?? 20)];
    const body = found.slice((page - 1) * size, page * size).map(({ hasPassword: _, ssoIdentities: __, ...user }) => user);
    return { body, headers: { "total-number": `${found.length}` } };
  }

  const standIn = await StandIn.start({
    "POST /oidc/token": ({ body }) => {
      if (body.client_id !== CLIENT.id || body.client_secret !== CLIENT.secret) return { status: 401, body: { code: "oidc.invalid_client" } };
      if (body.resource !== RESOURCE) return { status: 400, body: { code: "oidc.invalid_target" } };
      return { body: { access_token: "token-of-logto", expires_in: 3600, token_type: "Bearer", scope: "all" } };
    },
    "GET /api/users": guarded(list),
    "POST /api/users": guarded(({ body }) => ([...users.values()].some(({ username }) => body.username && username === body.username) ? error(422, "user.username_already_in_use", "This username is already in use.") : { body: make(body) })),
    "GET /api/users/:id": one((user) => ({ body: user })),
    "PATCH /api/users/:id": one((user, { body }) => changed(user, body)),
    "PATCH /api/users/:id/custom-data": one((user, { body }) => ({ body: changed(user, { customData: { ...user.customData, ...body.customData } }).body.customData })),
    "PATCH /api/users/:id/profile": one((user, { body }) => ({ body: changed(user, { profile: body.profile }).body.profile })),
    "PATCH /api/users/:id/password/expiration": one((user) => changed(user, {})),
    "PATCH /api/users/:id/is-suspended": one((user, { body }) => changed(user, body)),
    "DELETE /api/users/:id": one((user) => (users.delete(user.id), { status: 204 })),
  });
  return Object.assign(standIn, { users, make, error, client: CLIENT, resource: RESOURCE });
}
