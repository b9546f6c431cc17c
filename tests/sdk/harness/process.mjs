// A program of usertap's as a child process: what it prints, and its end.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { createServer } from "node:net";

const PROGRAM = process.env.USERTAP_PROGRAM ?? new URL("../../../target/debug/usertap", import.meta.url).pathname;
/** What a program may know of this process' surroundings; settings come from the tests alone. */
const INHERITED = ["PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "USERTAP_PG_BIN"];
/** A first start may fetch or initialise Postgres on a busy machine. */
const STARTS_WITHIN_MS = 120_000;
/** Longer than usertap's own `DRAIN`. */
const ENDS_WITHIN_MS = 20_000;

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

export class Program {
  #child;
  #printed = [];
  #exited;

  /** `stream` is where the lines come from that tell of the start. */
  constructor(args, { env = {}, stream }) {
    const inherited = INHERITED.filter((name) => name in process.env).map((name) => [name, process.env[name]]);
    this.#child = spawn(PROGRAM, args, {
      env: { ...Object.fromEntries(inherited), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#exited = once(this.#child, "exit");
    // Where the tests themselves are stopped.
    process.once("exit", () => this.#child.kill("SIGTERM"));
    this.lines = createInterface({ input: this.#child[stream] });
    this.lines.on("line", (line) => this.#printed.push(line));
    const other = stream === "stdout" ? "stderr" : "stdout";
    createInterface({ input: this.#child[other] }).on("line", (line) => this.#printed.push(line));
  }

  /** Everything printed until a line is the one looked for. */
  async until(isLast) {
    const found = new Promise((resolve) => {
      const look = () => this.#printed.some(isLast) && resolve();
      this.lines.on("line", look);
      look();
    });
    await Promise.race([found, this.#failed(), late(STARTS_WITHIN_MS, "it did not start in time")]).catch((error) => {
      throw new Error(`${error.message}:\n${this.#printed.join("\n")}`);
    });
    return [...this.#printed];
  }

  async #failed() {
    const [code, signal] = await this.#exited;
    throw new Error(`usertap ended (${code ?? signal}) before it was ready`);
  }

  get output() {
    return this.#printed.join("\n");
  }

  /** Asks it to end, waits, and insists. Gives its exit code. */
  async end() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGTERM");
    }
    const insist = setTimeout(() => this.#child.kill("SIGKILL"), ENDS_WITHIN_MS);
    const [code] = await this.#exited;
    clearTimeout(insist);
    return code;
  }
}

function late(ms, message) {
  return new Promise((_, reject) => setTimeout(() => reject(new Error(message)), ms).unref());
}

/** One that nobody uses at this moment. */
export async function freePort() {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}
