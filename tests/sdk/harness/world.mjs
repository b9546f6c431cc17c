// A sandbox, usertap before it with a Postgres of its own, and a look at the rows: started for the
// tests, and gone with them.
import assert from "node:assert/strict";

import { freePort } from "./process.mjs";
import { Sandbox } from "./sandbox.mjs";
import { Served } from "./served.mjs";

/** Of the first project: the sandbox's keys are the same at every start, and it prints usertap's only. */
const ADMIN_KEY = "sak_69b82ebc9223430080d29eb57de1d510c4d06ca2f39a4";

export class World {
  /** The first project at the sandbox: the one that usertap is set to. */
  project;
  /** Another one at the same address. */
  other;
  /** Base URL of usertap. */
  proxy;
  #sandbox;
  #served;

  /** With `announced`, usertap is told a public URL: its address under another name than `proxy`'s. */
  static async start({ announced = false } = {}) {
    const world = new World();
    try {
      await world.#start(announced);
    } catch (error) {
      await world.end();
      throw error;
    }
    return world;
  }

  async #start(announced) {
    this.#sandbox = await Sandbox.start("--users", "5", "--projects", "2");
    const { settings } = this.#sandbox;
    this.project = project(settings, "");
    this.other = project(settings, "OTHER_");
    const own = Object.entries(settings).filter(([name]) => !name.startsWith("OTHER_"));
    const port = announced ? await freePort() : 0;
    this.#served = await Served.start({
      ...Object.fromEntries(own),
      USERTAP_LISTEN: `127.0.0.1:${port}`,
      ...(port && { USERTAP_PUBLIC_URL: `http://localhost:${port}` }),
    });
    this.proxy = this.#served.proxy;
    await this.sql(`create table todos (
      id serial primary key,
      task text not null,
      user_id uuid not null references neon_identity.users_sync(id) on delete cascade
    )`);
  }

  sql(text, values) {
    return this.#served.sql(text, values);
  }

  /** The row at this very moment. */
  row(id) {
    return this.#served.row(id);
  }

  /** The user as the provider has it now, asked behind usertap's back. */
  async provided(id, { of = this.project } = {}) {
    const answer = await this.call("server", "GET", `/users/${id}`, { of });
    return answer.status === 200 ? answer.body : null;
  }

  /** A request straight to the provider: what happens where usertap does not see it. */
  async call(access, method, path, { of = this.project, body } = {}) {
    const answer = await fetch(`${of.upstream}/api/v1${path}`, {
      method,
      headers: {
        "content-type": "application/json",
        "x-stack-project-id": of.id,
        "x-stack-access-type": access,
        "x-stack-publishable-client-key": of.clientKey,
        ...(access === "server" && { "x-stack-secret-server-key": of.serverKey }),
        ...(access === "admin" && { "x-stack-super-secret-admin-key": ADMIN_KEY }),
      },
      body: body && JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json().catch(() => null) };
  }

  /** Runs something while the first project is configured so, as on the provider's dashboard. */
  async configured(config, run) {
    await this.#configure(config);
    try {
      return await run();
    } finally {
      await this.#configure(Object.fromEntries(Object.keys(config).map((name) => [name, false])));
    }
  }

  async #configure(config) {
    const answer = await this.call("admin", "PATCH", "/internal/projects/current", { body: { config } });
    assert.equal(answer.status, 200);
  }

  /** What usertap says of itself. */
  status() {
    return this.#served.status();
  }

  /** What usertap has logged. */
  get log() {
    return this.#served.log;
  }

  /** Ends every process; gives usertap's exit code. */
  async end() {
    const code = await this.#served?.end();
    await this.#sandbox?.end();
    return code;
  }
}

function project(settings, prefix) {
  return {
    upstream: settings[`${prefix}USERTAP_UPSTREAM`],
    id: settings[`${prefix}STACK_PROJECT_ID`],
    clientKey: settings[`${prefix}STACK_PUBLISHABLE_CLIENT_KEY`],
    serverKey: settings[`${prefix}STACK_SECRET_SERVER_KEY`],
  };
}
