// A realm of Keycloak's: tokens and users, as its admin API answers.
import { randomUUID } from "node:crypto";
import { StandIn } from "../harness/stand-in.mjs";

const CLIENT = { id: "usertap", secret: "secret-of-the-client" };
const REALM = "/admin/realms/shop";

export async function keycloak() {
  const users = new Map();
  const token = `e30.${Buffer.from(JSON.stringify({ exp: Math.floor(Date.now() / 1000) + 3600, sub: "service" })).toString("base64url")}.c2ln`;
  const error = (status, error) => ({ status, body: { error } });
  const conflict = () => ({ status: 409, body: { errorMessage: "User exists with same email" } });
  const guarded = (answer) => (asked) => (asked.headers.authorization === `Bearer ${token}` ? answer(asked) : error(401, "HTTP 401 Unauthorized"));
  const one = (answer) => guarded((asked) => (users.has(asked.params.id) ? answer(users.get(asked.params.id), asked) : error(404, "User not found")));
  const access = { manageGroupMembership: true, view: true, mapRoles: true, impersonate: false, manage: true };
  // Java reads it in any case, and its Python SDK writes `True`.
  const is = (flag) => flag?.toLowerCase() === "true";
  const brief = ({ id, username, firstName, lastName, email, emailVerified, enabled, createdTimestamp }) => ({ id, username, firstName, lastName, email, emailVerified, enabled, createdTimestamp, access });

  function list({ query }) {
    let found = [...users.values()].sort((a, b) => (a.username < b.username ? -1 : 1));
    if (query.search) found = found.filter(({ username, email }) => username.includes(query.search) || email?.includes(query.search));
    if (query.username) found = found.filter(({ username }) => (is(query.exact) ? username === query.username : username.includes(query.username)));
    if (query.email) found = found.filter(({ email }) => email === query.email);
    const first = Number(query.first ?? 0);
    const page = found.slice(first, first + Number(query.max ?? 100));
    return { body: page.map((user) => (is(query.briefRepresentation) ? brief(user) : { ...user, access })) };
  }

  function make(fields) {
    const id = randomUUID();
    const { credentials: _, ...rest } = fields;
    users.set(id, { id, emailVerified: false, enabled: false, createdTimestamp: 1760000000000 + users.size, totp: false, disableableCredentialTypes: [], requiredActions: [], notBefore: 0, ...rest });
    return id;
  }

  const standIn = await StandIn.start({
    "POST /realms/shop/protocol/openid-connect/token": ({ headers, body }) => {
      const basic = Buffer.from(headers.authorization?.slice(6) ?? "", "base64").toString();
      const shown = basic || `${body.client_id}:${body.client_secret}`;
      if (shown !== `${CLIENT.id}:${CLIENT.secret}`) return { status: 401, body: { error: "unauthorized_client", error_description: "Invalid client or Invalid client credentials" } };
      return { body: { access_token: token, expires_in: 60, token_type: "Bearer", "not-before-policy": 0, scope: "profile email" } };
    },
    [`GET ${REALM}/users/?`]: guarded(list),
    [`GET ${REALM}/users/count`]: guarded(() => ({ body: users.size })),
    [`POST ${REALM}/users/?`]: guarded(({ body }) => {
      if ([...users.values()].some(({ username }) => username === body.username)) return conflict();
      return { status: 201, headers: { location: `${standIn.url}${REALM}/users/${make(body)}` } };
    }),
    [`GET ${REALM}/users/:id`]: one((user, { query }) => ({ body: { ...user, access, ...(is(query.userProfileMetadata) && { userProfileMetadata: { attributes: [] } }) } })),
    [`PUT ${REALM}/users/:id`]: one((user, { body }) => (Object.assign(user, body), { status: 204 })),
    [`DELETE ${REALM}/users/:id`]: one((user) => (users.delete(user.id), { status: 204 })),
    [`PUT ${REALM}/users/:id/reset-password`]: one((user, { body }) => (body.temporary && user.requiredActions.push("UPDATE_PASSWORD"), { status: 204 })),
    [`POST ${REALM}/users/:id/logout`]: one((user) => ((user.notBefore = 1760000001), { status: 204 })),
  });
  return Object.assign(standIn, { users, make, error, client: CLIENT });
}
