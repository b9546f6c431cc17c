// GoTrue behind a project's gateway, as its source has it.
import { randomUUID } from "node:crypto";
import { StandIn } from "../harness/stand-in.mjs";

const ANON = "sb_publishable_of_the_project";
const SECRET = "sb_secret_of_the_project";

export async function supabase() {
  const users = new Map();
  let clock = Date.parse("2026-01-01T00:00:00.000Z");
  const now = () => new Date((clock += 1000)).toISOString().replace("Z", "123Z");
  const error = (status, code, message) => ({ status, body: { code, message }, headers: VERSION });
  const nobody = () => error(404, "user_not_found", "User not found");
  const ok = (body, headers = {}) => ({ body, headers: { ...VERSION, ...headers } });
  const admin = (answer) => (asked) => (asked.headers.authorization === `Bearer ${SECRET}` ? answer(asked) : error(403, "not_admin", "User not allowed"));
  const one = (answer) => admin((asked) => (users.has(asked.params.id) ? answer(users.get(asked.params.id), asked) : nobody()));
  const token = (id) => `${base64({ alg: "HS256", typ: "JWT" })}.${base64({ sub: id, exp: Math.floor(Date.now() / 1000) + 3600, role: "authenticated", session_id: randomUUID() })}.c2lnbmF0dXJl`;
  const caller = (asked) => users.get(JSON.parse(Buffer.from(asked.headers.authorization.split(".")[1] ?? "e30", "base64url")).sub);
  const session = (user) => ({ access_token: token(user.id), token_type: "bearer", expires_in: 3600, expires_at: Math.floor(Date.now() / 1000) + 3600, refresh_token: `refresh-${user.id}`, user: whole(user) });
  const identity = ({ id, email, created_at, updated_at }) => ({ identity_id: id, id, user_id: id, identity_data: { email, sub: id }, provider: "email", created_at, updated_at, email });
  const whole = (user) => ({ ...user, identities: [identity(user)] });
  const listed = (user) => user;

  function list({ query }) {
    const sorted = [...users.values()].sort((a, b) => (query.sort === "created_at asc" ? 1 : -1) * a.created_at.localeCompare(b.created_at));
    const [page, length] = [Number(query.page || 1), Number(query.per_page || 50)];
    const last = Math.max(1, Math.ceil(sorted.length / length));
    const link = [...(page < last ? [`<${standIn.url}/admin/users?page=${page + 1}&per_page=${length}>; rel="next"`] : []), `<${standIn.url}/admin/users?page=${last}&per_page=${length}>; rel="last"`].join(", ");
    return ok({ users: sorted.slice((page - 1) * length, page * length).map(listed), aud: "authenticated" }, { "x-total-count": `${sorted.length}`, link });
  }

  function make({ email, user_metadata = {}, id = randomUUID() }) {
    const at = now();
    const user = { id, aud: "authenticated", role: "authenticated", email, email_confirmed_at: at, phone: "", confirmed_at: at, app_metadata: { provider: "email", providers: ["email"] }, user_metadata, created_at: at, updated_at: at, is_anonymous: false };
    users.set(id, user);
    return user;
  }
  const taken = (email) => [...users.values()].some((user) => user.email === email);

  function create({ body }) {
    if (taken(body.email)) return error(422, "email_exists", "A user with this email address has already been registered");
    return ok(whole(make(body)));
  }

  function update(user, { body }) {
    const { user_metadata, data, app_metadata, ban_duration, password: _, ...rest } = body;
    Object.assign(user, rest, { updated_at: now() });
    user.user_metadata = { ...user.user_metadata, ...user_metadata, ...data };
    user.app_metadata = { ...user.app_metadata, ...app_metadata };
    if (ban_duration) user.banned_until = "2027-01-01T00:00:00Z";
    return ok(whole(user));
  }

  function remove(user, { body }) {
    if (body?.should_soft_delete) Object.assign(user, { deleted_at: now(), email: "hashed", updated_at: now() });
    else users.delete(user.id);
    return ok({});
  }

  const routes = {
    "GET /auth/v1/admin/users": admin(list),
    "POST /auth/v1/admin/users": admin(create),
    "GET /auth/v1/admin/users/:id": one((user) => ok(whole(user))),
    "PUT /auth/v1/admin/users/:id": one(update),
    "DELETE /auth/v1/admin/users/:id": one(remove),
    "POST /auth/v1/admin/generate_link": admin(({ body }) => ok({ ...whole(taken(body.email) ? [...users.values()].find((u) => u.email === body.email) : make(body)), action_link: "https://x/verify?token=secret", email_otp: "123456", hashed_token: "hash", verification_type: body.type, redirect_to: "" })),
    "POST /auth/v1/invite": admin(({ body }) => ok(whole(make(body)))),
    "POST /auth/v1/signup": ({ body }) => (taken(body.email) ? error(422, "user_already_exists", "User already registered") : ok(session(make({ email: body.email, user_metadata: body.data ?? {} })))),
    "POST /auth/v1/token": ({ body, query }) => {
      const user = query.grant_type === "refresh_token" ? users.get(body.refresh_token.slice(8)) : [...users.values()].find(({ email }) => email === body.email);
      if (!user) return error(400, "invalid_credentials", "Invalid login credentials");
      user.last_sign_in_at = now();
      return ok(session(user));
    },
    "GET /auth/v1/user": (asked) => (caller(asked) ? ok(whole(caller(asked))) : error(403, "bad_jwt", "invalid JWT")),
    "PUT /auth/v1/user": (asked) => (caller(asked) ? update(caller(asked), asked) : error(403, "bad_jwt", "invalid JWT")),
    "POST /auth/v1/logout": () => ({ status: 204, headers: VERSION }),
  };
  const standIn = await StandIn.start(Object.fromEntries(Object.entries(routes).map(([on, answer]) => [on, (asked) => versioned(asked, answer(asked))])));
  return Object.assign(standIn, { users, make, error, anon: ANON, secret: SECRET });
}

/** Whoever names no version of the API is told errors as they were before there was one. */
function versioned({ headers }, answer) {
  if (headers["x-supabase-api-version"] || !answer.body?.code) return answer;
  const { status, body } = answer;
  return { status, body: { code: status, error_code: body.code, msg: body.message } };
}

const VERSION = { "x-supabase-api-version": "2024-01-01" };
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
