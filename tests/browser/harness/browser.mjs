// One Chromium for the whole run. Every page is watched: a script's error, a breach of the content
// policy or a request to another place fails the test that opened it.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SCREENSHOTS = new URL("../screenshots/", import.meta.url).pathname;
const WIDE = { width: 1280, height: 860 };
const NARROW = { width: 360, height: 780 };
/** On a busy machine; nothing here is as slow by itself. */
const PATIENCE_MS = 30_000;

let browser;

export async function start() {
  await mkdir(SCREENSHOTS, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    // As root, in a container, Chromium has no sandbox to run in.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
}

export async function end() {
  await browser?.close();
}

/** A browser of its own, with cookies of its own. */
export class Visit {
  #context;
  #wrong = [];
  #origin;

  static async to(origin, { dark = false, narrow = false } = {}) {
    const visit = new Visit();
    visit.#origin = origin;
    visit.#context = await browser.newContext({
      baseURL: origin,
      viewport: narrow ? NARROW : WIDE,
      colorScheme: dark ? "dark" : "light",
      reducedMotion: "reduce",
      deviceScaleFactor: 1,
    });
    visit.#context.setDefaultTimeout(PATIENCE_MS);
    return visit;
  }

  /** Opens a page; `allows` are the answers other than successes that belong to the test. */
  async open(path, { allows = [] } = {}) {
    const page = await this.#context.newPage();
    const note = (what) => this.#wrong.push(`${path}: ${what}`);
    page.on("pageerror", (error) => note(error.message));
    page.on("console", (message) => {
      const expected = allows.some((status) => message.text().includes(String(status)));
      if (message.type() === "error" && !expected) note(message.text());
    });
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (origin !== this.#origin && protocol !== "data:") note(`asks ${request.url()}`);
    });
    await page.goto(path);
    return page;
  }

  async cookies() {
    return this.#context.cookies();
  }

  async end() {
    await this.#context.close();
    assert.deepEqual(this.#wrong, []);
  }
}

export async function shot(page, name, { full = false } = {}) {
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: `${SCREENSHOTS}${name}.png`, fullPage: full, animations: "disabled" });
}

/** Nothing that keeps somebody out. The engine is brought in past the page's policy, which forbids it. */
export async function isAccessible(page, what) {
  // What has scrolled beneath the page's head is no smaller for it.
  await page.evaluate(() => scrollTo(0, 0));
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" | ")}`);
  assert.deepEqual(told, [], what);
}

/** Nothing sticks out, nor is a part of the menu to be looked for by scrolling. */
export async function fitsItsWidth(page, what) {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= room, `${what}: ${wide} px wide on a screen of ${room}`);
  const menu = page.getByRole("navigation", { name: "Main" });
  const [all, seen] = await menu.evaluate(({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth]);
  assert.ok(all <= seen, `${what}: the menu is ${all} px wide, of which ${seen} are seen`);
}
