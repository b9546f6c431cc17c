// Okta's users, as its documentation has them.
import { StandIn } from "../harness/stand-in.mjs";

const TOKEN = "00token-of-okta";

export async function okta() {
  const users = new Map();
  let made = 0;
  let clock = Date.parse("2026-01-01T00:00:00.000Z");
  const now = () => new Date((clock += 1000)).toISOString();
  const error = (status, errorCode, errorSummary, errorCauses = [], remaining = 9) => ({
    status, body: { errorCode, errorSummary, errorLink: errorCode, errorId: "oae1", errorCauses }, headers: limits(remaining),
  });
  const nobody = (id) => error(404, "E0000007", `Not found: Resource not found: ${id} (User)`);
  const ok = (body, headers = {}) => ({ body, headers: { ...limits(9), ...headers } });
  // Its Python SDK puts nothing between the scheme and the token.
  const guarded = (answer) => (asked) => ([`SSWS ${TOKEN}`, `SSWS${TOKEN}`].includes(asked.headers.authorization) ? answer(asked) : error(401, "E0000011", "Invalid token provided"));
  const named = (name) => users.get(name) ?? [...users.values()].find(({ profile }) => profile.login === name);
  const one = (answer) => guarded((asked) => (named(asked.params.id) ? answer(named(asked.params.id), asked) : nobody(asked.params.id)));
  const shown = (user) => ({ ...user, credentials: { provider: { type: "OKTA", name: "OKTA" } }, _links: { self: { href: `${standIn.url}/api/v1/users/${user.id}` } } });
  const listed = (user) => ({ ...user, _links: { self: { href: `${standIn.url}/api/v1/users/${user.id}` } } });

  function list({ query, path }) {
    let found = [...users.values()];
    if (!query.search && !query.filter) found = found.filter(({ status }) => status !== "DEPROVISIONED");
    const email = query.search?.match(/^profile\.email eq "(.+)"$/)?.[1];
    if (email) found = found.filter(({ profile }) => profile.email === email);
    const from = query.after ? found.findIndex(({ id }) => id === query.after) + 1 : 0;
    const page = found.slice(from, from + Number(query.limit ?? 200));
    const at = (more) => `${standIn.url}${path}?${new URLSearchParams({ ...query, ...more })}`;
    const links = [`<${at({})}>; rel="self"`];
    if (from + page.length < found.length) links.push(`<${at({ after: page.at(-1).id })}>; rel="next"`);
    return ok(page.map(listed), { link: links });
  }

  function create({ body, query = {} }) {
    if (named(body.profile.login)) {
      return error(400, "E0000001", "Api validation failed: login", [{ errorSummary: "login: An object with this field already exists in the current organization" }]);
    }
    const at = now();
    const id = `00u${`${(made += 1)}`.padStart(17, "0")}`;
    const user = {
      id, status: query.activate === "false" ? "STAGED" : "ACTIVE", created: at, activated: at, statusChanged: at, lastLogin: null, lastUpdated: at,
      passwordChanged: null, type: { id: "otyfnjfba4ye7pgjB0g4" }, profile: { mobilePhone: null, secondEmail: null, ...body.profile },
    };
    users.set(id, user);
    return ok(shown(user));
  }

  function becomes(user, change) {
    Object.assign(user, change, { lastUpdated: now() });
    return user;
  }

  const standIn = await StandIn.start({
    "GET /api/v1/users": guarded(list),
    "POST /api/v1/users": guarded(create),
    "GET /api/v1/devices/:id/users": guarded(() => ok([...users.values()].slice(-1).map((user) => ({ created: user.created, managementStatus: "NOT_MANAGED", user: shown(user) })))),
    "GET /api/v1/users/:id": one((user) => ok(shown(user))),
    "POST /api/v1/users/:id": one((user, { body }) => ok(shown(becomes(user, { profile: { ...user.profile, ...body.profile } })))),
    "PUT /api/v1/users/:id": one((user, { body }) => ok(shown(becomes(user, { profile: body.profile })))),
    "POST /api/v1/users/:id/lifecycle/suspend": one((user) => (becomes(user, { status: "SUSPENDED" }), ok({}))),
    // Deactivates first, deletes after that.
    "DELETE /api/v1/users/:id": one((user) => {
      if (user.status === "DEPROVISIONED") users.delete(user.id);
      else becomes(user, { status: "DEPROVISIONED" });
      return { status: 204, headers: limits(9) };
    }),
  });
  return Object.assign(standIn, { users, create, error, token: TOKEN });
}

function limits(remaining) {
  return { "x-rate-limit-limit": "600", "x-rate-limit-remaining": `${remaining}`, "x-rate-limit-reset": `${Math.ceil(Date.now() / 1000) + 1}`, "x-okta-request-id": "reqVy8wsvmBQN27h4soUE3ZEnA" };
}
