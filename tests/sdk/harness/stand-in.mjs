// A provider's API as its documentation describes it, where no test can have the provider itself: its routes are
// functions of what is asked, and refusals can be put before them.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { gzipSync } from "node:zlib";

import { until } from "./served.mjs";

export class StandIn {
  /** Base URL. */
  url;
  #server;
  #routes;
  /** What is refused, how, and how often still. */
  #refusal;

  /** `routes` maps `GET /users/:id` to `({ params, query, body, headers }) => ({ status, body, headers })`. */
  static async start(routes) {
    const standIn = new StandIn();
    standIn.#routes = Object.entries(routes).map(([on, answer]) => ({ ...pattern(on), answer }));
    standIn.#server = createServer((request, response) => standIn.#serve(request, response));
    await once(standIn.#server.listen(0, "127.0.0.1"), "listening");
    standIn.url = `http://127.0.0.1:${standIn.#server.address().port}`;
    return standIn;
  }

  /** The next `times` requests that begin with `on` are answered so. */
  refuse(on, answer, times = 1) {
    this.#refusal = { on, answer, times };
  }

  /** While whatever begins with `on` is answered so, `read` goes on giving what it gave before. */
  async out(on, answer, read) {
    const before = await read();
    this.refuse(on, answer, Infinity);
    const asked = () => this.#refusal.asked > 0;
    await until(async () => {
      assert.deepEqual(await read(), before);
      return asked();
    });
  }

  heal() {
    this.#refusal = undefined;
  }

  async #serve(request, response) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const { method, headers } = request;
    const { pathname: path, searchParams } = new URL(request.url, this.url);
    const body = read(Buffer.concat(parts).toString(), headers["content-type"]);
    send(response, headers, this.#answer({ method, path, query: Object.fromEntries(searchParams), headers, body }));
  }

  #answer(asked) {
    const on = `${asked.method} ${asked.path}`;
    const refusal = this.#refusal;
    if (refusal && on.startsWith(refusal.on) && refusal.times > 0) {
      refusal.times -= 1;
      refusal.asked = (refusal.asked ?? 0) + 1;
      return refusal.answer;
    }
    const route = this.#routes.find(({ fits }) => fits.test(on));
    if (!route) return { status: 501, body: { error: `the stand-in has no ${on}` } };
    const [, ...values] = route.fits.exec(on);
    const params = Object.fromEntries(route.names.map((name, n) => [name, decodeURIComponent(values[n])]));
    return route.answer({ ...asked, params });
  }

  async end() {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }
}

function pattern(on) {
  const names = [];
  const fits = on.replace(/:(\w+)/g, (_, name) => (names.push(name), "([^/]+)"));
  return { fits: new RegExp(`^${fits}$`), names };
}

function read(text, type) {
  if (!text) return undefined;
  return type?.startsWith("application/x-www-form-urlencoded") ? Object.fromEntries(new URLSearchParams(text)) : JSON.parse(text);
}

/** Compressed for whoever takes that, as by the edges before such APIs. */
function send(response, asked, { status = 200, body, headers = {} }) {
  if (body === undefined) return response.writeHead(status, headers).end();
  const json = { "content-type": "application/json; charset=utf-8", ...headers };
  const text = JSON.stringify(body);
  if (!asked["accept-encoding"]?.includes("gzip")) return response.writeHead(status, json).end(text);
  response.writeHead(status, { ...json, "content-encoding": "gzip", vary: "accept-encoding" }).end(gzipSync(text));
}

/** What a step ended with that must fail. */
export function refusal(running) {
  return running.then(
    (result) => assert.fail(`it was not refused: ${JSON.stringify(result)}`),
    (error) => error,
  );
}
