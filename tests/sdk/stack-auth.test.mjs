// The real SDKs, in two versions and pointed at usertap in two ways. After every step the row is
// read from Postgres at once: no retries, no sleeps.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { App, POINTINGS, VERSIONS } from "./harness/app.mjs";
import { World } from "./harness/world.mjs";
import { clientJourney } from "./journeys/client.mjs";
import { serverJourney } from "./journeys/server.mjs";
import { strangersJourney } from "./journeys/tenant.mjs";
import { leakThroughPlainProxy, wayByPublicUrl, wayJourney } from "./journeys/way.mjs";

/** Versions that look for further addresses when they are pointed by the environment. */
const ASKING = ["2.8.108"];

let started;
const world = () => started;

before(async () => {
  started = await World.start();
});
after(async () => assert.equal(await started?.end(), 0, "usertap ended as it should"));

for (const version of Object.keys(VERSIONS)) {
  for (const pointing of POINTINGS) {
    describe(`${version}, pointed by ${pointing}`, () => {
      let running;
      const app = () => running;
      const name = `${pointing}.${version.replaceAll(".", "-")}`;
      before(async () => {
        running = await App.start({ version, pointing, base: world().proxy, project: world().project });
      });
      after(() => running?.end());

      serverJourney(test, { world, app, name });
      clientJourney(test, { world, app, name });
      wayJourney(test, { world, app, asks: pointing === "environment" && ASKING.includes(version) });
    });
  }
}

describe("another project", () => {
  for (const version of Object.keys(VERSIONS)) strangersJourney(test, { world, version });
});

describe("the way", () => {
  for (const version of ASKING) {
    wayByPublicUrl(test, { version });
    leakThroughPlainProxy(test, { world, version });
  }
});

describe("what usertap logged", () => {
  test("no e-mail address, no key, no token", () => {
    assert.doesNotMatch(world().log, /@example\.com|ssk_|pck_|eyJ[\w-]+\./);
  });
});
