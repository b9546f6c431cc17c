// The console as an operator has it: every page and every action in a real browser.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Visit, end, fitsItsWidth, isAccessible, shot, start } from "./harness/browser.mjs";
import { Apart, Demo, TOKEN } from "./harness/usertap.mjs";

const PAGES = ["/", "/users", "/users?view=all", "/users?view=beside", "/users/new", "/feed", "/connect", "/setup"];

/** Of the sandbox's integration API. */
const CLIENT = { id: "custom-local", secret: "custom-local-secret" };

let demo;
let apart;

before(async () => {
  const begun = await Promise.allSettled([Demo.start(), Apart.start(), start()]);
  [demo, apart] = begun.map(({ value }) => value);
  for (const { reason } of begun) if (reason) throw reason;
});
after(async () => {
  await end();
  const codes = [await demo?.end(), await apart?.end()];
  assert.deepEqual(codes, [0, 0], "both ended as they should");
});

/** Runs with a browser of its own at a console, and checks what it did to anybody. */
async function visiting(origin, options, run) {
  const visit = await Visit.to(origin, options);
  await run(visit);
  await visit.end();
}

/** The id of the project that the console shows. */
async function project(visit) {
  const page = await visit.open("/connect");
  const id = await page.locator("dt", { hasText: "Project id" }).locator("+ dd").textContent();
  await page.close();
  return id;
}

/** The headers of a request with the demo's admin key. */
function asAdmin(project) {
  return {
    "content-type": "application/json",
    "x-stack-project-id": project,
    "x-stack-access-type": "admin",
    "x-stack-super-secret-admin-key": demo.adminKey,
  };
}

async function signIn(page) {
  await page.getByLabel("Admin token").fill(TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

/** Opens the page of the first user in the list whose name is this. */
async function openUser(page, name) {
  await page.goto(`/users?q=${encodeURIComponent(name)}`);
  await page.getByRole("link", { name, exact: true }).first().click();
  await page.getByRole("heading", { level: 1, name }).waitFor();
}

async function makeUser(page, { name, email }) {
  await page.goto("/users/new");
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Email", { exact: true }).fill(email);
  await page.getByRole("button", { name: "Look it over" }).click();
  await page.getByRole("button", { name: "Make the user" }).click();
  await page.getByText("The user was made.").waitFor();
}

describe("the demo", () => {
  test("the overview says that all is well, and shows what is connected", () =>
    visiting(demo.console, {}, async (visit) => {
      const page = await visit.open("/");
      await page.getByText("All is well.").waitFor();
      const provider = page.getByRole("region", { name: "Stack Auth" });
      await provider.getByText("Connected").waitFor();
      await provider.getByRole("link", { name: /Dashboard/ }).waitFor();
      const database = page.getByRole("region", { name: "Your database" });
      await database.getByText("neon_identity.users_sync").waitFor();
      await page.locator("#state.on").waitFor();
    }));

  test("the curves show what goes through the proxy", () =>
    visiting(demo.console, {}, async (visit) => {
      const page = await visit.open("/");
      const users = new URL("/api/v1/users?limit=5", demo.proxy);
      const headers = asAdmin(await project(visit));
      const read = async () => assert.equal((await fetch(users, { headers })).status, 200);
      const number = async (name) => parseFloat(await page.locator("#curves .card", { hasText: name }).locator(".big").textContent());
      const late = performance.now() + 60_000;
      while (!((await number("Requests a second")) > 0 && (await number("Answered from the cache")) > 0)) {
        assert.ok(performance.now() < late, "nothing is shown");
        await read();
      }
      await page.locator("#curves .curve .line").first().waitFor({ state: "attached" });
    }));

  test("a backfill is started, and its account is shown", () =>
    visiting(demo.console, {}, async (visit) => {
      const page = await visit.open("/");
      await page.getByRole("button", { name: /Backfill again|Start the backfill/ }).click();
      await page.getByText("The backfill is under way").waitFor();
      await page.locator("#walks").getByText("unchanged").waitFor();
      await page.getByRole("button", { name: "Reconcile" }).click();
      await page.locator("#walks").getByRole("heading", { name: "Reconcile" }).waitFor();
      await page.locator("#freshness").getByText("deleted elsewhere").waitFor();
    }));

  test("users: those that changed last, all by id, those that a search finds, and the provider's beside them", () =>
    visiting(demo.console, {}, async (visit) => {
      const page = await visit.open("/users");
      assert.ok((await page.locator(".users tbody tr").count()) >= 25);
      await page.getByRole("link", { name: "All, by id" }).click();
      const ids = await page.locator(".users td[data-label=Id]").allTextContents();
      assert.deepEqual(ids, [...ids].sort());
      await page.getByRole("searchbox").fill("grace@");
      await page.keyboard.press("Enter");
      await page.getByRole("cell", { name: "grace@example.com" }).waitFor();
      assert.equal(await page.locator(".users tbody tr").count(), 1);
      await page.getByRole("searchbox").fill("nobody is called so");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "Nobody found" }).waitFor();
      await page.goto("/users?view=beside");
      await page.getByText("of the provider's list are the same in the database").waitFor();
      assert.equal(await page.getByText("no row yet").count(), 0);
    }));

  test("a user is made, renamed and deleted through the proxy, and an open table shows each by itself", () =>
    visiting(demo.console, {}, async (visit) => {
      const table = await visit.open("/users");
      const page = await visit.open("/users");
      await table.locator("#state").waitFor();
      await makeUser(page, { name: "Katherine Johnson", email: "katherine@example.com" });
      await page.getByText("committed; pos=").waitFor();
      await table.getByRole("link", { name: "Katherine Johnson" }).waitFor();

      await page.getByRole("link", { name: "Edit" }).click();
      await page.getByLabel("Name").fill("Katherine G. Johnson");
      await page.getByRole("button", { name: "Look it over" }).click();
      await page.getByRole("cell", { name: "Katherine Johnson", exact: true }).waitFor();
      const began = performance.now();
      await page.getByRole("button", { name: "Change the user" }).click();
      await table.getByRole("link", { name: "Katherine G. Johnson" }).waitFor();
      console.log(`# a rename stood in the open table after ${Math.round(performance.now() - began)} ms`);
      await page.getByText("The same in every field").waitFor();
      await page.getByRole("region", { name: "History" }).getByText("PATCH /users/{id}").waitFor();
      await shot(page, "user", { full: true });

      await page.getByRole("link", { name: "Delete" }).click();
      await page.getByText("The row stays, with deleted_at set").waitFor();
      await page.getByRole("link", { name: "Leave it" }).click();
      await page.getByRole("link", { name: "Delete" }).click();
      await page.getByRole("button", { name: "Delete the user" }).click();
      await page.getByText("The user was deleted.").waitFor();
      await page.getByText("The provider says that there is no such user.").waitFor();
      await table.locator("tr", { hasText: "Katherine G. Johnson" }).getByText("deleted").waitFor();
    }));

  test("what cannot be read is told beside its field, and a name is only ever a text", () =>
    visiting(demo.console, {}, async (visit) => {
      const page = await visit.open("/users/new");
      const name = "<script>alert(1)</script>";
      await page.getByLabel("Name").fill(name);
      await page.getByLabel("Server metadata").fill("{ not json");
      await page.getByRole("button", { name: "Look it over" }).click();
      const field = page.getByLabel("Server metadata");
      await page.getByText("It is not JSON").waitFor();
      assert.equal(await field.getAttribute("aria-invalid"), "true");
      assert.ok(await field.evaluate((element) => element === document.activeElement), "it has the focus");
      await field.fill('{ "plan": "pro" }');
      await page.getByRole("button", { name: "Look it over" }).click();
      await page.getByRole("button", { name: "Write again" }).click();
      assert.equal(await page.getByLabel("Name").inputValue(), name);
      await page.getByRole("button", { name: "Look it over" }).click();
      await page.getByRole("button", { name: "Make the user" }).click();
      await page.getByRole("heading", { level: 1, name }).waitFor();
      await page.goto("/feed");
      await page.getByRole("link", { name }).first().waitFor();
    }));

  test("what the provider refuses is told in its words", () =>
    visiting(demo.console, {}, async (visit) => {
      const page = await visit.open("/users/new", { allows: [502] });
      for (const name of ["First", "Second"]) {
        await page.goto("/users/new");
        await page.getByLabel("Name").fill(name);
        await page.getByLabel("Email", { exact: true }).fill("same@example.com");
        await page.getByLabel("Signs in with this email").check();
        await page.getByRole("button", { name: "Look it over" }).click();
        await page.getByRole("button", { name: "Make the user" }).click();
      }
      await page.getByText(/Not done: the provider says: .*already/i).waitFor();
    }));

  test("the feed grows as it is looked at, can be filtered, and keeps slots", () =>
    visiting(demo.console, {}, async (visit) => {
      const tail = await visit.open("/feed");
      const page = await visit.open("/users");
      await makeUser(page, { name: "Mary Jackson", email: "mary@example.com" });
      await tail.locator("#tail").getByRole("link", { name: "Mary Jackson" }).first().waitFor();
      await tail.getByLabel("Type").selectOption("user.deleted");
      await tail.getByRole("button", { name: "Filter" }).click();
      await tail.waitForURL(/type=user.deleted/);
      const kinds = await tail.locator("#tail td[data-label=Change]").allTextContents();
      assert.ok(kinds.length > 0 && kinds.every((kind) => kind === "deleted"), kinds.join());
      await tail.getByRole("link", { name: "Show all" }).click();

      await tail.getByLabel("A new slot").fill("mailer");
      await tail.getByLabel("from").selectOption("oldest");
      await tail.getByRole("button", { name: "Make it" }).click();
      await tail.getByText("The slot is there.").waitFor();
      await shot(tail, "feed", { full: true });
      await tail.getByRole("link", { name: "Advance mailer to the head" }).click();
      await tail.getByRole("button", { name: "Advance it" }).click();
      await tail.locator("#slots tr", { hasText: "mailer" }).getByText("nothing").waitFor();
      await tail.getByRole("link", { name: "Delete mailer" }).click();
      await tail.getByRole("button", { name: "Delete it" }).click();
      await tail.getByText("There are none.").waitFor();
    }));

  test("setup has lines for this installation, to be copied", () =>
    visiting(demo.console, {}, async (visit) => {
      const page = await visit.open("/setup");
      const lines = await page.locator(".lines code").allTextContents();
      for (const part of ["baseUrl: \"http://127.0.0.1:", "user_id UUID NOT NULL REFERENCES neon_identity.users_sync(id)", "@@schema(\"neon_identity\")", "pgSchema(\"neon_identity\")", "/_usertap/webhooks", "/v1/changes?since=oldest"]) {
        assert.ok(lines.some((text) => text.includes(part)), part);
      }
      await page.getByRole("button", { name: "Copy: Drizzle" }).click();
      await page.getByRole("button", { name: "Copy: Drizzle" }).getByText(/Copied|Selected/).waitFor();
      await shot(page, "setup", { full: true });
    }));

  test("all of it is done with a keyboard", () =>
    visiting(demo.console, {}, async (visit) => {
      const page = await visit.open("/users");
      await page.keyboard.press("Tab");
      const skip = page.getByRole("link", { name: "Skip to the content" });
      assert.ok(await skip.evaluate((link) => link === document.activeElement && link.getBoundingClientRect().top >= 0));
      await page.keyboard.press("Enter");
      for (const first of ["In the dashboard (opens in a new tab)", "New user"]) {
        await page.keyboard.press("Tab");
        assert.equal(await page.evaluate(() => document.activeElement.textContent), first);
      }
      const names = [];
      for (let step = 0; step < 9; step += 1) {
        await page.keyboard.press("Tab");
        names.push(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent));
      }
      assert.ok(names.includes("q") && names.includes("All, by id"), names.join());
      assert.match(names.at(-1), /^a-/, "a user of the list");
      // Looking again leaves the focus where it is.
      await makeUser(await visit.open("/users"), { name: "Dorothy Vaughan", email: "dorothy@example.com" });
      await page.getByRole("link", { name: "Dorothy Vaughan" }).waitFor();
      assert.equal(await page.evaluate(() => document.activeElement.id), names.at(-1));
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "The row" }).waitFor();
    }));

  test("every page is for everybody: light and dark, wide and narrow", async () => {
    for (const look of [{}, { dark: true }, { narrow: true }]) {
      const kind = Object.keys(look)[0] ?? "light";
      await visiting(demo.console, look, async (visit) => {
        const page = await visit.open("/");
        await page.getByText("All is well.").waitFor();
        for (const path of PAGES) {
          await page.goto(path);
          await isAccessible(page, `${path} (${kind})`);
          await fitsItsWidth(page, `${path} (${kind})`);
          const name = path === "/" ? "overview" : path.slice(1).replaceAll(/\W+/g, "-");
          if (kind !== "light") await shot(page, `${name}-${kind}`);
          else if (path === "/") await shot(page, name, { full: true });
        }
        await openUser(page, "Mary Jackson");
        await isAccessible(page, `a user (${kind})`);
        await fitsItsWidth(page, `a user (${kind})`);
        await shot(page, `user-${kind}`);
      }).catch((error) => {
        error.message = `${kind}: ${error.message}`;
        throw error;
      });
    }
  });

  test("a project is made by the provider's API, and its keys are shown once", () =>
    visiting(demo.console, {}, async (visit) => {
      const page = await visit.open("/connect");
      const part = page.getByRole("region", { name: "Make a project at Stack Auth" });
      await part.getByText("By its API").click();
      await part.getByLabel("Name of the project").fill("Shop");
      await part.getByLabel("Integration client id").fill(CLIENT.id);
      await part.getByLabel("Integration client secret").fill("guessed");
      await part.getByLabel("Make it").check();
      await part.getByRole("button", { name: "Make the project" }).click();
      await page.getByText("Invalid client_id:client_secret values").waitFor();
      assert.equal(await part.getByLabel("Name of the project").inputValue(), "Shop", "what was entered stays");
      await part.getByLabel("Integration client secret").fill(CLIENT.secret);
      await part.getByLabel("Make it").check();
      await part.getByRole("button", { name: "Make the project" }).click();
      await page.getByText("the provider takes its key").waitFor();
      const lines = await part.locator("pre").allTextContents();
      const [, key] = /export STACK_SECRET_SERVER_KEY='(ssk_\w+)'/.exec(lines.join("\n"));
      await part.getByText("Shown this once.").waitFor();
      await isAccessible(page, "a project that was made");
      await fitsItsWidth(page, "a project that was made");
      await shot(page, "made", { full: true });
      await page.goto("/connect");
      assert.ok(!(await page.content()).includes(key), "the key is shown again");
    }));

  test("webhooks are subscribed by the provider's API, and tell of what passes nobody", () =>
    visiting(demo.console, {}, async (visit) => {
      const table = await visit.open("/users");
      const page = await visit.open("/connect");
      const part = page.getByRole("region", { name: "Subscribe its webhooks" });
      await part.getByText("By its API").click();
      await part.getByLabel("Integration client id").fill(CLIENT.id);
      await part.getByLabel("Integration client secret").fill(CLIENT.secret);
      await part.getByLabel("Super secret admin key").fill(demo.adminKey);
      await part.getByLabel("Subscribe them").check();
      await part.getByRole("button", { name: "Subscribe them" }).click();
      await page.getByText("Subscribed.").waitFor();
      await part.getByText(/export USERTAP_WEBHOOK_SECRET='whsec_/).waitFor();
      assert.ok(!(await page.content()).includes(demo.adminKey), "the admin key is in the page");
      await isAccessible(page, "subscribed webhooks");
      await shot(page, "subscribed", { full: true });
      const now = page.getByRole("region", { name: /^Now/ });
      const upstream = await now.getByText(/^http:/).textContent();
      const headers = asAdmin(await project(visit));
      const user = JSON.stringify({ display_name: "Annie Easley" });
      const made = await fetch(`${upstream}api/v1/users`, { method: "POST", headers, body: user });
      assert.equal(made.status, 201);
      await table.getByRole("link", { name: "Annie Easley" }).waitFor();
      // It is to be kept, and the console says so.
      await page.goto("/");
      await page.getByRole("region", { name: /problem/ }).getByText(/WEBHOOK_SECRET/).waitFor();
    }));

  test("there is no page of another name", () =>
    visiting(demo.console, {}, async (visit) => {
      const page = await visit.open("/nowhere", { allows: [404] });
      await page.getByRole("heading", { name: "Nothing here" }).waitFor();
    }));
});

describe("with a token, and the provider apart", () => {
  test("nobody gets in without the token, and out is out", () =>
    visiting(apart.console, {}, async (visit) => {
      const page = await visit.open("/users?view=all", { allows: [401] });
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
      await isAccessible(page, "sign in");
      await page.getByLabel("Admin token").fill("another token");
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByText("That is not the token.").waitFor();
      await signIn(page);
      assert.equal(new URL(page.url()).search, "?view=all", "back to where it wanted to go");
      const cookie = (await visit.cookies()).find(({ name }) => /^usertap_\d+$/.test(name));
      assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Strict"]);
      assert.ok(!cookie.value.includes(TOKEN));
      assert.equal(await page.evaluate(() => document.cookie), "", "scripts cannot read it");
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
      await page.goto("/users");
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
    }));

  test("a link from another site signs nobody out, and one goes on from there", () =>
    visiting(apart.console, {}, async (visit) => {
      const page = await visit.open("/");
      await signIn(page);
      const users = new URL("/users", apart.console);
      const elsewhere = await visit.open("/login");
      await elsewhere.goto(`data:text/html,<a href="${users}">Look</a>`);
      await elsewhere.getByRole("link", { name: "Look" }).click();
      await elsewhere.getByRole("heading", { name: "Sign in" }).waitFor();
      await elsewhere.getByRole("link", { name: "Go on" }).click();
      await elsewhere.getByRole("heading", { level: 1, name: "Users" }).waitFor();
      await page.reload();
      await page.getByRole("button", { name: "Sign out" }).waitFor();
    }));

  test("a backfill is started with a button, and its users appear", () =>
    visiting(apart.console, {}, async (visit) => {
      const page = await visit.open("/");
      await signIn(page);
      await page.getByRole("button", { name: "Start the backfill" }).click();
      await page.locator("#walks").getByText("120").first().waitFor();
      await page.locator("#walks").getByText("Done").waitFor();
      await page.goto("/users?view=all");
      await page.getByRole("link", { name: "Next page" }).click();
      await page.getByRole("link", { name: "Next page" }).click();
      assert.equal(await page.locator(".users tbody tr").count(), 20, "the third page of 120");
      await page.goto("/users");
      await shot(page, "users");
    }));

  test("what differs from the provider is marked, and taken over with a button", () =>
    visiting(apart.console, {}, async (visit) => {
      const page = await visit.open("/users?view=all");
      await signIn(page);
      await page.locator(".users tbody a").first().click();
      await page.getByText("The same in every field").waitFor();
      const id = new URL(page.url()).pathname.split("/").at(-1);
      await apart.ask("PATCH", `/users/${id}`, { display_name: "Renamed Elsewhere" }, { behind: true });
      await page.reload();
      await page.getByText("1 field differs").waitFor();
      const line = page.locator("tr.differs");
      await line.getByText("Renamed Elsewhere").waitFor();
      assert.match(await line.textContent(), /display_name/);
      await shot(page, "differs");
      const beside = await visit.open("/users?view=beside");
      await beside.getByRole("row", { name: "Renamed Elsewhere" }).getByText("differs").waitFor();
      await beside.locator("#state.on").waitFor();
      await shot(beside, "beside");
      await page.getByRole("button", { name: "Record what the provider says" }).click();
      await page.getByText("the row says what the provider says").waitFor();
      await page.getByRole("heading", { level: 1, name: "Renamed Elsewhere" }).waitFor();
      await page.getByText("The same in every field").waitFor();
    }));

  test("a rename through the proxy stands in an open page of the user", () =>
    visiting(apart.console, {}, async (visit) => {
      const page = await visit.open("/users?view=all");
      await signIn(page);
      await page.locator(".users tbody a").nth(1).click();
      await page.getByText("The same in every field").waitFor();
      const id = new URL(page.url()).pathname.split("/").at(-1);
      await page.locator("#raw summary").click();
      await apart.ask("PATCH", `/users/${id}`, { display_name: "Renamed Meanwhile" });
      await page.getByRole("heading", { level: 1, name: "Renamed Meanwhile" }).waitFor();
      assert.ok(await page.locator("#raw").evaluate((details) => details.open), "what was open stays open");
    }));

  test("a key is checked, and neither shown nor logged", () =>
    visiting(apart.console, {}, async (visit) => {
      const page = await visit.open("/connect");
      await signIn(page);
      await page.getByRole("region", { name: /^Now/ }).getByText("Connected").waitFor();
      const wrong = "ssk_of_nobody_at_all";
      for (const [key, answer] of [[wrong, "does not take this key"], [apart.settings.STACK_SECRET_SERVER_KEY, "It takes the key"]]) {
        await page.getByLabel("Server key").fill(key);
        await page.getByRole("button", { name: "Check it" }).click();
        await page.getByText(answer).waitFor();
        assert.ok(!(await page.content()).includes(key), "the key is in the page");
        assert.ok(!apart.log.includes(key), "the key is in the log");
      }
      await page.getByText("export STACK_SECRET_SERVER_KEY='what you entered'").waitFor();
      await page.getByText("usertap doctor").waitFor();
      await isAccessible(page, "a checked key");
      await shot(page, "connect", { full: true });
    }));

  test("an outage of the provider is shown with its remedy", () =>
    visiting(apart.console, {}, async (visit) => {
      const page = await visit.open("/");
      await signIn(page);
      await page.getByRole("region", { name: "Stack Auth" }).getByText("Connected", { exact: true }).waitFor();
      await apart.takeProvider();
      const problems = page.getByRole("region", { name: /problem/ });
      await problems.getByText(/provider/i).first().waitFor();
      await problems.getByText("Remedy").first().waitFor();
      await problems.getByText(/check UPSTREAM/i).first().waitFor();
      await isAccessible(page, "an outage");
      await shot(page, "outage");
      // Rows are there all the same.
      await page.goto("/users?view=all");
      await page.locator(".users tbody a").first().click();
      await page.getByText("The provider does not say:").waitFor();
      await page.getByRole("region", { name: "The row" }).getByText("created_at").waitFor();
    }));

  test("no address, key or token stands in the log", () => {
    assert.doesNotMatch(apart.log, /@example\.com|ssk_|pck_|an-admin-token/);
  });
});
