// Auth0's tokens and users, as its documentation has them.
import { StandIn } from "../harness/stand-in.mjs";

const CLIENT = { client_id: "app_1", client_secret: "secret-of-app-1" };

export async function auth0() {
  const users = new Map();
  let clock = Date.parse("2026-01-01T00:00:00.000Z");
  const now = () => new Date((clock += 1000)).toISOString();
  let made = 0;
  const error = (status, word, message, errorCode) => ({ status, body: { statusCode: status, error: word, message, errorCode }, headers: limits(status === 429 ? 0 : 9) });
  const nobody = () => error(404, "Not Found", "The user does not exist.", "inexistent_user");
  const ok = (body, status = 200) => ({ status, body, headers: limits(9) });
  const guarded = (answer) => (asked) =>
    asked.headers.authorization === "Bearer token-of-the-api" ? answer(asked) : error(401, "Unauthorized", "Invalid token", "invalid_token");
  const one = (answer) => guarded((asked) => (users.has(asked.params.id) ? answer(users.get(asked.params.id), asked) : nobody()));

  function list({ query }) {
    const found = [...users.values()].filter(fitting(query.q)).sort((a, b) => a.created_at.localeCompare(b.created_at));
    const [page, length] = [Number(query.page ?? 0), Number(query.per_page ?? 50)];
    const shown = found.slice(0, 1000).slice(page * length, (page + 1) * length);
    if (query.include_totals !== "true") return ok(shown);
    return ok({ start: page * length, limit: length, length: shown.length, total: found.length, users: shown });
  }

  function create({ body }) {
    const { connection, password: _, ...fields } = body;
    if ([...users.values()].some(({ email }) => email === fields.email)) {
      return error(409, "Conflict", "The user already exists.", "auth0_idp_error");
    }
    const id = `${(made += 1)}`.padStart(24, "0");
    const at = now();
    const user = {
      created_at: at, email_verified: false, name: fields.email, nickname: fields.email.split("@")[0], picture: "https://s.gravatar.com/avatar/1.png",
      updated_at: at, user_id: `auth0|${id}`, identities: [{ connection, user_id: id, provider: "auth0", isSocial: false }], ...fields,
    };
    users.set(user.user_id, user);
    return ok(user, 201);
  }

  function update(user, { body }) {
    for (const [field, value] of Object.entries(body)) {
      user[field] = field.endsWith("_metadata") ? { ...user[field], ...value } : value;
    }
    user.updated_at = now();
    return ok(user);
  }

  const standIn = await StandIn.start({
    "POST /oauth/token": ({ body }) => {
      if (body.client_id !== CLIENT.client_id || body.client_secret !== CLIENT.client_secret) {
        return { status: 401, body: { error: "access_denied", error_description: "Unauthorized" } };
      }
      if (body.audience !== `${standIn.url}/api/v2/`) {
        return { status: 403, body: { error: "access_denied", error_description: `Service not enabled within domain: ${body.audience}` } };
      }
      return { body: { access_token: "token-of-the-api", scope: "read:users", expires_in: 86400, token_type: "Bearer" } };
    },
    "POST /dbconnections/signup": ({ body: { client_id: _, ...body } }) => {
      const { status, body: user } = create({ body });
      if (status === 409) return { status: 400, body: { code: "invalid_signup", description: "Invalid sign up" } };
      return { body: { _id: user.identities[0].user_id, email: user.email, email_verified: false } };
    },
    "GET /userinfo": ({ headers }) => {
      const user = users.get(headers.authorization?.slice("Bearer of-".length));
      return user ? { body: { sub: user.user_id, name: user.name } } : { status: 401, body: "Unauthorized" };
    },
    "GET /api/v2/users": guarded(list),
    "POST /api/v2/users": guarded(create),
    "GET /api/v2/users-by-email": guarded(({ query }) => ok([...users.values()].filter(({ email }) => email === query.email))),
    "GET /api/v2/users/:id": one((user) => ok(user)),
    "PATCH /api/v2/users/:id": one(update),
    // Whoever is not there is deleted already.
    "DELETE /api/v2/users/:id": guarded(({ params }) => (users.delete(params.id), { status: 204, headers: limits(9) })),
  });
  return Object.assign(standIn, { users, create, update, error, client: CLIENT });
}

function limits(remaining) {
  return { "x-ratelimit-limit": "10", "x-ratelimit-remaining": `${remaining}`, "x-ratelimit-reset": `${Math.ceil(Date.now() / 1000) + 1}` };
}

/** Of the query syntax what is asked here. */
function fitting(q) {
  const since = q?.match(/^created_at:\[(\S+) TO \*\]$/);
  if (since) return (user) => user.created_at >= since[1];
  const email = q?.match(/^email:"(.+)"$/);
  if (email) return (user) => user.email === email[1];
  return () => true;
}
