// What the browser looks at: the demo, or a sandbox and a serve whose provider can be taken away.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { Program } from "../../sdk/harness/process.mjs";

const LOOPBACK = "127.0.0.1:0";
export const TOKEN = "an-admin-token-of-the-browser-tests";

/** Begins; what cannot is ended all the same, so that nothing is left behind. */
async function begun(one, begin) {
  try {
    await begin();
  } catch (error) {
    await one.end();
    throw error;
  }
  return one;
}

/** `usertap demo`, as it stands in the README. */
export class Demo {
  console;
  proxy;
  /** Of its project at the provider. */
  adminKey;
  #program;
  #folder;

  static async start() {
    const demo = new Demo();
    return begun(demo, () => demo.#begin());
  }

  async #begin() {
    this.#folder = await mkdtemp(join(tmpdir(), "usertap-browser-"));
    const env = { USERTAP_LISTEN: LOOPBACK, USERTAP_ADMIN_LISTEN: LOOPBACK, USERTAP_DATA_DIR: this.#folder };
    this.#program = new Program(["demo"], { env, stream: "stdout" });
    const printed = await this.#program.until((line) => line.startsWith("It goes on serving"));
    const found = (form) => printed.map((line) => form.exec(line)?.[1]).find(Boolean);
    this.console = found(/console: (http:\S+?)\/?$/);
    this.proxy = found(/the app's base URL: (http:\S+)/);
    this.adminKey = found(/admin key (sak_\S+)/);
  }

  async end() {
    const code = await this.#program?.end();
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true });
    return code;
  }
}

/** A serve with a token, its provider apart. */
export class Apart {
  console;
  proxy;
  settings;
  #sandbox;
  #serve;
  #dataDir;
  #postgresFolder;

  static async start() {
    const apart = new Apart();
    return begun(apart, () => apart.#begin());
  }

  async #begin() {
    await this.#startSandbox(LOOPBACK);
    this.#dataDir = await mkdtemp(join(tmpdir(), "usertap-browser-"));
    const env = {
      ...this.settings,
      DATABASE_URL: "embedded",
      USERTAP_DATA_DIR: this.#dataDir,
      USERTAP_LISTEN: LOOPBACK,
      USERTAP_ADMIN_LISTEN: LOOPBACK,
      USERTAP_ADMIN_TOKEN: TOKEN,
      USERTAP_TIMEOUT: "2s",
      USERTAP_LOG_FORMAT: "json",
    };
    this.#serve = new Program(["serve"], { env, stream: "stderr" });
    const lines = await this.#serve.until((line) => event(line)?.message === "serving");
    const said = (message) => lines.map(event).find((line) => line?.message === message);
    this.console = `http://${said("serving").admin}`;
    this.proxy = `http://${said("serving").listen}`;
    const file = said("embedded Postgres is up").password_file;
    await readFile(file);
    this.#postgresFolder = dirname(dirname(file));
  }

  async #startSandbox(listen) {
    this.#sandbox = new Program(["sandbox", "--users", "120", "--listen", listen], { stream: "stdout" });
    const printed = await this.#sandbox.until((line) => line === "ready");
    this.settings = Object.fromEntries(printed.filter((line) => line !== "ready").map((line) => line.split(/=(.*)/s, 2)));
  }

  get log() {
    return this.#serve.output;
  }

  /** The provider is gone. */
  async takeProvider() {
    await this.#sandbox.end();
  }

  /** A server's request, by way of the proxy or behind its back. */
  async ask(method, path, body, { behind = false } = {}) {
    const answer = await fetch(`${behind ? this.settings.USERTAP_UPSTREAM : this.proxy}/api/v1${path}`, {
      method,
      headers: {
        "content-type": "application/json",
        "x-stack-project-id": this.settings.STACK_PROJECT_ID,
        "x-stack-access-type": "server",
        "x-stack-secret-server-key": this.settings.STACK_SECRET_SERVER_KEY,
      },
      body: body && JSON.stringify(body),
    });
    return answer.json();
  }

  async end() {
    const code = await this.#serve?.end();
    await this.#sandbox?.end();
    for (const folder of [this.#dataDir, this.#postgresFolder]) {
      // Postgres ends with its last user, an instant after it.
      if (folder) await rm(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
    }
    return code;
  }
}

function event(line) {
  return line.startsWith("{") ? JSON.parse(line) : undefined;
}
