// Where the SDK sends its requests: newer ones ask their provider for further addresses, and go
// there from then on.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { App } from "../harness/app.mjs";
import { assertRow } from "../harness/compare.mjs";
import { World } from "../harness/world.mjs";

const ASKS_FOR_ADDRESSES = "/api/v1/internal/backend-urls";
/** Far more than one answer on loopback takes. */
const ANSWERED_WITHIN_MS = 10_000;

/** To be called last: over everything that the app did. */
export function wayJourney(test, { world, app, asks }) {
  test("every request of the app went to usertap", async () => {
    await readAFew(app());
    if (asks) await answered(app());
    await readAFew(app());
    const requests = await app().requests();
    assert.equal(requests.some(({ path }) => path === ASKS_FOR_ADDRESSES), asks);
    assert.ok(requests.length >= 6);
    assert.deepEqual(origins(requests), [world().proxy]);
  });
}

/** What would happen without usertap's own answer: proves that the journey above can see it. */
export function leakThroughPlainProxy(test, { world, version }) {
  test(`${version}: past a proxy that only forwards, the SDK finds its way to the provider`, async (t) => {
    const { upstream } = world().project;
    const plain = await plainProxy(upstream);
    t.after(() => plain.close());
    const base = `http://127.0.0.1:${plain.address().port}`;
    const app = await App.start({ version, pointing: "environment", base, project: world().project });
    t.after(() => app.end());
    await readAFew(app);
    await answered(app);
    await readAFew(app);
    assert.deepEqual(origins(await app.requests()), [base, upstream].sort());
  });
}

/** With a public URL, usertap's answer names it, and the SDK goes on there. */
export function wayByPublicUrl(test, { version }) {
  test(`${version}: told of usertap's public URL, the SDK goes on there, and the rows are there too`, async (t) => {
    const world = await World.start({ announced: true });
    t.after(() => world.end());
    const announced = world.proxy.replace("127.0.0.1", "localhost");
    const { project, proxy: base } = world;
    const app = await App.start({ version, pointing: "environment", base, project });
    t.after(() => app.end());
    await readAFew(app);
    await answered(app);
    const user = await app.run(async ({ server, shown }) => shown(await server.createUser({ displayName: "Later" })));
    await assertRow(world, user);
    const requests = await app.requests();
    assert.deepEqual(origins(requests), [base, announced]);
    assert.equal(requests.at(-1).origin, announced);
  });
}

function readAFew(app) {
  return app.run(async ({ server }) => {
    // Pages of different lengths: the SDK keeps what it has read.
    for (const limit of [1, 2, 3]) await server.listUsers({ limit, query: String(Math.random()) });
  });
}

/** Until the background question for addresses has its answer. */
async function answered(app) {
  const deadline = Date.now() + ANSWERED_WITHIN_MS;
  for (;;) {
    const asked = (await app.requests()).find(({ path }) => path === ASKS_FOR_ADDRESSES);
    if (asked?.answered) return;
    assert.ok(Date.now() < deadline, "the SDK has not asked for addresses");
  }
}

function origins(requests) {
  return [...new Set(requests.map(({ origin }) => origin))].sort();
}

async function plainProxy(upstream) {
  const server = createServer(async (request, response) => {
    const { host: _, connection: __, ...headers } = request.headers;
    const answer = await fetch(upstream + request.url, { headers });
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return server;
}
