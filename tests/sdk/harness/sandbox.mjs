// A sandbox of usertap's as a process, and the settings that it prints.
import { Program } from "./process.mjs";
import { LOOPBACK } from "./served.mjs";

export class Sandbox {
  /** As printed, those of the first project without a prefix. */
  settings;
  #program;

  static async start(...args) {
    const sandbox = new Sandbox();
    sandbox.#program = new Program(["sandbox", "--listen", LOOPBACK, ...args], { stream: "stdout" });
    const printed = await sandbox.#program.until((line) => line === "ready");
    sandbox.settings = Object.fromEntries(printed.filter((line) => line !== "ready").map(pair));
    return sandbox;
  }

  end() {
    return this.#program.end();
  }
}

function pair(line) {
  const at = line.indexOf("=");
  return [line.slice(0, at), line.slice(at + 1)];
}
