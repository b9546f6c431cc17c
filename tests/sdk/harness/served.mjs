// usertap serving before any provider, with a Postgres of its own, and a look at the rows: started for
// the tests, and gone with them.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";

import { Program } from "./process.mjs";

export const LOOPBACK = "127.0.0.1:0";
/** A walk over a few users, on a busy machine. */
const WALKS_WITHIN_MS = 60_000;

export class Served {
  /** Base URL of usertap. */
  proxy;
  /** Where its rows are: a Postgres that it has started, unless the settings name one. */
  database;
  /** Base URL of its admin side. */
  admin;
  #dataDir;
  #postgresFolder;
  #serve;
  #rows;

  /** `settings` point usertap at the provider. */
  static async start(settings) {
    const served = new Served();
    try {
      await served.#start(settings);
    } catch (error) {
      await served.end();
      throw error;
    }
    return served;
  }

  async #start(settings) {
    this.#dataDir = await mkdtemp(join(tmpdir(), "usertap-sdk-"));
    const env = {
      DATABASE_URL: "embedded",
      USERTAP_DATA_DIR: this.#dataDir,
      USERTAP_LISTEN: LOOPBACK,
      USERTAP_ADMIN_LISTEN: LOOPBACK,
      USERTAP_LOG_FORMAT: "json",
      ...settings,
    };
    this.#serve = new Program(["serve"], { env, stream: "stderr" });
    const events = (await this.#serve.until((line) => event(line)?.message === "serving")).map(event);
    const said = (message) => events.find((event) => event?.message === message);
    this.proxy = `http://${said("serving").listen}`;
    this.admin = `http://${said("serving").admin}`;
    this.database = settings.DATABASE_URL ?? (await this.#embedded(said("embedded Postgres is up")));
    this.#rows = new pg.Client({ connectionString: this.database });
    await this.#rows.connect();
  }

  /** As an operator would: by the address and the password's file that the log names. */
  async #embedded({ url, password_file: passwordFile }) {
    this.#postgresFolder = dirname(passwordFile);
    const address = new URL(url);
    address.password = await readFile(passwordFile, "utf8");
    return address.href;
  }

  async sql(text, values = []) {
    return (await this.#rows.query(text, values)).rows;
  }

  /** The row at this very moment. */
  async row(id) {
    const [row] = await this.sql("select * from neon_identity.users_sync where id::text = $1", [id]);
    return row;
  }

  /** The row says what the provider does, at this very moment; `user` is what is stored of it. */
  async assertLevel(id, user, { name, email }) {
    const row = await this.row(id);
    assert.ok(row, `there is no row of ${id}`);
    assert.deepEqual(row.raw_json, user);
    assert.deepEqual([row.name, row.email, row.deleted_at], [name, email, null]);
  }

  /** What usertap says of itself. */
  async status() {
    return (await fetch(`${this.admin}/v1/status`)).json();
  }

  /** A `backfill` or a `reconcile`, to its end. */
  async walk(kind) {
    const begun = await fetch(`${this.admin}/v1/${kind}`, { method: "POST" });
    assert.ok(begun.ok, `${begun.status}`);
    const deadline = Date.now() + WALKS_WITHIN_MS;
    for (;;) {
      const run = (await this.status())[kind];
      if (run?.state === "done" || run?.state === "failed") return run;
      assert.ok(Date.now() < deadline, `the ${kind} does not end: ${JSON.stringify(run)}`);
      await new Promise((soon) => setTimeout(soon, 50));
    }
  }

  /** What usertap has logged. */
  get log() {
    return this.#serve.output;
  }

  /** Ends usertap and removes every folder; gives its exit code. */
  async end() {
    await this.#rows?.end();
    const code = await this.#serve?.end();
    await remove(this.#dataDir);
    // Elsewhere where root runs this, see DATA_DIR in the README.
    await remove(this.#postgresFolder && dirname(this.#postgresFolder));
    return code;
  }
}

/** Within a minute. */
export async function until(holds) {
  for (const deadline = Date.now() + WALKS_WITHIN_MS; !(await holds()); ) {
    assert.ok(Date.now() < deadline, "it does not come about");
    await new Promise((soon) => setTimeout(soon, 50));
  }
}

async function remove(folder) {
  // Postgres ends with its last user, an instant after it.
  if (folder) await rm(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
}

function event(line) {
  return line.startsWith("{") ? JSON.parse(line) : undefined;
}
