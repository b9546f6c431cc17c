// An app that uses the SDK, in a process of its own: only there do environment variables count as
// they do for users, and only there can every request be seen that the SDK sends.
import { fork } from "node:child_process";
import { once } from "node:events";

export const VERSIONS = { "2.8.77": "stack-old", "2.8.108": "stack-new" };
export const POINTINGS = ["constructor", "environment"];

export class App {
  #child;
  #waiting = new Map();
  #calls = 0;

  /** `base` is where the app believes its provider to be. */
  static async start({ version, pointing, base, project }) {
    const app = new App();
    const env = {
      PATH: process.env.PATH,
      STACK_SDK: VERSIONS[version],
      STACK_PROJECT_ID: project.id,
      STACK_PUBLISHABLE_CLIENT_KEY: project.clientKey,
      STACK_SECRET_SERVER_KEY: project.serverKey,
      [pointing === "environment" ? "NEXT_PUBLIC_STACK_API_URL" : "BASE_URL"]: base,
    };
    app.#child = fork(new URL("./app-process.mjs", import.meta.url), { env, serialization: "advanced" });
    app.#child.on("message", ({ call, ...answer }) => app.#answer(call, answer));
    app.#child.on("exit", (code, signal) => app.#died(code ?? signal));
    // The call that it makes by itself, once the SDK is there.
    await app.#answered(0);
    return app;
  }

  /**
   * Runs a function in the app's process. It sees nothing of this one but its arguments, the stage
   * (see app-process.mjs) and `input`, and what it returns must be plain data. An error of the
   * SDK's arrives as `{ name, code, status, message }` in `cause`.
   */
  async run(step, input) {
    const call = ++this.#calls;
    const answered = this.#answered(call);
    this.#child.send({ call, step: step.toString(), input });
    return answered;
  }

  /** Every request of the process so far, as `{ origin, method, path, answered }`, oldest first. */
  requests() {
    return this.run(({ requests }) => requests());
  }

  async end() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await exited;
  }

  #answered(call) {
    return new Promise((resolve, reject) => this.#waiting.set(call, { resolve, reject }));
  }

  #answer(call, { result, error }) {
    const { resolve, reject } = this.#waiting.get(call);
    this.#waiting.delete(call);
    if (error) reject(new Error(error.message, { cause: error }));
    else resolve(result);
  }

  #died(how) {
    for (const { reject } of this.#waiting.values()) reject(new Error(`the app's process ended (${how})`));
  }
}
