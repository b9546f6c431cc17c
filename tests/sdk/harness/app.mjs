// An app that uses the SDK, in a process of its own: only there do environment variables count as
// they do for users, and only there can every connection be seen that the SDK makes.
import { fork } from "node:child_process";
import { once } from "node:events";

export const VERSIONS = { "2.8.77": "stack-old", "2.8.108": "stack-new" };
export const POINTINGS = ["constructor", "environment"];

export class App {
  #child;
  #calls = 0;

  /** `base` is where the app believes its provider to be. */
  static async start({ version, pointing, base, project }) {
    const app = new App();
    const byEnvironment = pointing === "environment";
    const env = {
      PATH: process.env.PATH,
      STACK_SDK: VERSIONS[version],
      STACK_PROJECT_ID: project.id,
      STACK_PUBLISHABLE_CLIENT_KEY: project.clientKey,
      STACK_SECRET_SERVER_KEY: project.serverKey,
      [byEnvironment ? "NEXT_PUBLIC_STACK_API_URL" : "BASE_URL"]: base,
    };
    app.#child = fork(new URL("./app-process.mjs", import.meta.url), { env, serialization: "advanced" });
    await once(app.#child, "message");
    return app;
  }

  /**
   * Runs a function in the app's process. It sees nothing of this one but its arguments: it is given
   * `{ server, client, shown, kept }` (see app-process.mjs) and `input`, and what it returns must be
   * plain data. An error of the SDK's arrives as `{ name, code, status, message }` in `cause`.
   */
  async run(step, input) {
    const call = ++this.#calls;
    this.#child.send({ call, step: step.toString(), input });
    for (;;) {
      const [answer] = await Promise.race([once(this.#child, "message"), this.#died()]);
      if (answer.call !== call) continue;
      if (answer.error) throw new Error(answer.error.message, { cause: answer.error });
      return answer.result;
    }
  }

  async #died() {
    const [code] = await once(this.#child, "exit");
    throw new Error(`the app's process ended (${code})`);
  }

  /** Every request of the process so far, as `{ origin, method, path }`, oldest first. */
  requests() {
    return this.run(({ requests }) => requests());
  }

  async end() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await exited;
  }
}
