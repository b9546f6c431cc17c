// A sandbox, usertap before it with a Postgres of its own, and a look at the rows: started for the
// tests, and gone with them.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";

import { Program } from "./process.mjs";

const LOOPBACK = "127.0.0.1:0";
/** Of the first project: the sandbox's keys are the same at every start, and it prints usertap's only. */
const ADMIN_KEY = "sak_69b82ebc9223430080d29eb57de1d510c4d06ca2f39a4";

export class World {
  /** The first project at the sandbox: the one that usertap is set to. */
  project;
  /** Another one at the same address. */
  other;
  /** Base URL of usertap. */
  proxy;
  #admin;
  #dataDir;
  #postgresFolder;
  #sandbox;
  #serve;
  #rows;

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
    const args = ["sandbox", "--users", "5", "--projects", "2", "--listen", LOOPBACK];
    this.#sandbox = new Program(args, { stream: "stdout" });
    const printed = await this.#sandbox.until((line) => line === "ready");
    const settings = Object.fromEntries(printed.filter((line) => line !== "ready").map(pair));
    this.project = project(settings, "");
    this.other = project(settings, "OTHER_");
    await this.#startServe(settings, announced ? await freePort() : 0);
  }

  async #startServe(settings, port) {
    this.#dataDir = await mkdtemp(join(tmpdir(), "usertap-sdk-"));
    const own = Object.entries(settings).filter(([name]) => !name.startsWith("OTHER_"));
    const env = {
      ...Object.fromEntries(own),
      DATABASE_URL: "embedded",
      USERTAP_DATA_DIR: this.#dataDir,
      USERTAP_LISTEN: `127.0.0.1:${port}`,
      ...(port && { USERTAP_PUBLIC_URL: `http://localhost:${port}` }),
      USERTAP_ADMIN_LISTEN: LOOPBACK,
      USERTAP_LOG_FORMAT: "json",
    };
    this.#serve = new Program(["serve"], { env, stream: "stderr" });
    const events = (await this.#serve.until((line) => event(line)?.message === "serving")).map(event);
    const said = (message) => events.find((event) => event?.message === message);
    this.proxy = `http://${said("serving").listen}`;
    this.#admin = `http://${said("serving").admin}`;
    await this.#connect(said("embedded Postgres is up"));
  }

  /** As an operator would: by the address and the password's file that the log names. */
  async #connect({ url, password_file: passwordFile }) {
    this.#postgresFolder = dirname(passwordFile);
    const address = new URL(url);
    address.password = await readFile(passwordFile, "utf8");
    this.#rows = new pg.Client({ connectionString: address.href });
    await this.#rows.connect();
    await this.sql(`create table todos (
      id serial primary key,
      task text not null,
      user_id uuid not null references neon_identity.users_sync(id) on delete cascade
    )`);
  }

  async sql(text, values = []) {
    return (await this.#rows.query(text, values)).rows;
  }

  /** The row at this very moment. */
  async row(id) {
    const [row] = await this.sql("select * from neon_identity.users_sync where id = $1", [id]);
    return row;
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
  async status() {
    return (await fetch(`${this.#admin}/v1/status`)).json();
  }

  /** What usertap has logged. */
  get log() {
    return this.#serve.output;
  }

  /** Ends every process and removes every folder; gives usertap's exit code. */
  async end() {
    await this.#rows?.end();
    const code = await this.#serve?.end();
    await this.#sandbox?.end();
    await this.#remove(this.#dataDir);
    // Elsewhere where root runs this, see DATA_DIR in the README.
    await this.#remove(this.#postgresFolder && dirname(this.#postgresFolder));
    return code;
  }

  async #remove(folder) {
    // Postgres ends with its last user, an instant after it.
    if (folder) await rm(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  }
}

async function freePort() {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

function pair(line) {
  const at = line.indexOf("=");
  return [line.slice(0, at), line.slice(at + 1)];
}

function event(line) {
  return line.startsWith("{") ? JSON.parse(line) : undefined;
}

function project(settings, prefix) {
  return {
    upstream: settings[`${prefix}USERTAP_UPSTREAM`],
    id: settings[`${prefix}STACK_PROJECT_ID`],
    clientKey: settings[`${prefix}STACK_PUBLISHABLE_CLIENT_KEY`],
    serverKey: settings[`${prefix}STACK_SECRET_SERVER_KEY`],
  };
}
