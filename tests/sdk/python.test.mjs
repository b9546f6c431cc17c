// The providers' Python SDKs, unchanged, each in a process of its own before usertap: `python/` has what they do.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, test } from "node:test";
import { promisify } from "node:util";

import { Sandbox } from "./harness/sandbox.mjs";
import { Served } from "./harness/served.mjs";
import { auth0 } from "./stand-ins/auth0.mjs";
import { keycloak } from "./stand-ins/keycloak.mjs";
import { okta } from "./stand-ins/okta.mjs";
import { supabase } from "./stand-ins/supabase.mjs";

const PYTHON = process.env.USERTAP_PYTHON ?? "python3";
const FOLDER = new URL("./python/", import.meta.url).pathname;
const TLS = new URL("../fixtures/tls/", import.meta.url).pathname;
const BY_TLS = { USERTAP_TLS_CERT: `${TLS}cert.pem`, USERTAP_TLS_KEY: `${TLS}key.pem` };
const ENDS_WITHIN_MS = 120_000;
const SEEDS = Array.from({ length: 120 }, (_, n) => `seed${n}`);

/** Runs `python/NAME.py` before usertap before a provider. It is told where both are, and what `told` is. */
async function journey(name, settings, told, first = () => {}) {
  const served = await Served.start({ USERTAP_CACHE_TTL: "60s", ...settings });
  try {
    await first(served);
    const proxy = settings.USERTAP_TLS_CERT ? served.proxy.replace("http:", "https:") : served.proxy;
    const world = { proxy, admin: served.admin, upstream: settings.USERTAP_UPSTREAM, ...told };
    const trusted = { SSL_CERT_FILE: `${TLS}ca.pem`, REQUESTS_CA_BUNDLE: `${TLS}ca.pem` };
    const env = { PATH: process.env.PATH, PYTHONDONTWRITEBYTECODE: "1", ...trusted, WORLD: JSON.stringify(world) };
    await promisify(execFile)(PYTHON, ["-m", "unittest", name], { cwd: FOLDER, env, timeout: ENDS_WITHIN_MS });
    assert.equal((await served.status()).traffic.unmatched, 0);
    assert.doesNotMatch(served.log, /@example\.com|secret-of|token-of|sk_live_/);
  } finally {
    assert.equal(await served.end(), 0, "usertap ended as it should");
  }
}

/** With a provider, to which `seed` gives its users. */
const at = (start, run, seed = () => {}) => async () => {
  const provider = await start();
  try {
    SEEDS.forEach((name) => seed(provider, name));
    await run(provider);
  } finally {
    await provider.end();
  }
};

// Most of their time goes into starting.
describe("Python", { concurrency: 2 }, () => {
  test(
    "Stack Auth, by requests, httpx and aiohttp",
    at(
      () => Sandbox.start("--users", "5"),
      ({ settings }) => {
        const { STACK_PROJECT_ID: project, STACK_PUBLISHABLE_CLIENT_KEY: client_key, STACK_SECRET_SERVER_KEY: server_key } = settings;
        return journey("stack_auth", settings, { project, client_key, server_key });
      },
    ),
  );

  test(
    "clerk-backend-api",
    at(
      () => Sandbox.start("--provider", "clerk", "--users", "10"),
      ({ settings }) => journey("clerk", settings, { key: settings.CLERK_SECRET_KEY }),
    ),
  );

  test(
    "auth0-python",
    at(
      auth0,
      ({ url, client }) => {
        const settings = { USERTAP_PROVIDER: "auth0", USERTAP_UPSTREAM: url, AUTH0_CLIENT_ID: client.client_id, AUTH0_CLIENT_SECRET: client.client_secret };
        return journey("auth0_management", { ...settings, ...BY_TLS }, client);
      },
      (provider, name) => provider.create({ body: { connection: "db", email: `${name}@example.com` } }),
    ),
  );

  test(
    "supabase-auth",
    at(
      supabase,
      ({ url, anon, secret }) => {
        const settings = { USERTAP_PROVIDER: "supabase", USERTAP_UPSTREAM: url, SUPABASE_SECRET_KEY: secret };
        return journey("supabase_admin", { ...settings, ...BY_TLS }, { anon, secret });
      },
      (provider, name) => provider.make({ email: `${name}@example.com` }),
    ),
  );

  test(
    "okta",
    at(
      okta,
      (provider) => {
        const { url, token, users } = provider;
        const gone = oktaUser(provider, "gone");
        const settings = { USERTAP_PROVIDER: "okta", USERTAP_UPSTREAM: url, OKTA_CLIENT_TOKEN: token };
        return journey("okta_users", { ...settings, ...BY_TLS }, { token, gone }, async (served) => {
          await served.walk("backfill");
          users.delete(gone);
        });
      },
      oktaUser,
    ),
  );

  test(
    "python-keycloak",
    at(
      keycloak,
      ({ url, client: { id, secret } }) => {
        const settings = { USERTAP_PROVIDER: "keycloak", USERTAP_UPSTREAM: url, KEYCLOAK_REALM: "shop", KEYCLOAK_CLIENT_ID: id, KEYCLOAK_CLIENT_SECRET: secret };
        return journey("keycloak_admin", settings, { client_id: id, client_secret: secret });
      },
      (provider, name) => provider.make({ username: name, email: `${name}@example.com`, enabled: true }),
    ),
  );
});

function oktaUser(provider, name) {
  const email = `${name}@example.com`;
  return provider.create({ body: { profile: { login: email, email, firstName: name, lastName: "L" } } }).body.id;
}
