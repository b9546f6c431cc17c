// An app's back end: whole users in every answer.
import assert from "node:assert/strict";
import { assertDeleted, assertRow, refusalOf } from "../harness/compare.mjs";

export function serverJourney(test, { world, app, name }) {
  const email = `ada.${name}@example.com`;
  let ada;
  let team;

  test("server: create", async () => {
    ada = await app().run(
      async ({ server, shown, kept }, email) => {
        kept.ada = await server.createUser({
          displayName: "Ada Lovelace",
          primaryEmail: email,
          primaryEmailAuthEnabled: true,
          serverMetadata: { plan: "pro" },
        });
        return shown(kept.ada);
      },
      email,
    );
    assert.equal(ada.email, email);
    await assertRow(world(), ada);
  });

  test("server: create, where the answer is older than the user it tells of", async () => {
    await world().configured({ create_team_on_sign_up: true }, async () => {
      const made = await app().run(async ({ server, shown }) => {
        return shown(await server.createUser({ displayName: "A. Turing" }));
      });
      assert.equal(made.selectedTeam, null, "so the SDK shows the user");
      const row = await world().row(made.id);
      assert.deepEqual([row.name, row.created_at, row.deleted_at], [made.name, made.signedUpAt, null]);
      const read = await app().run(async ({ server, shown }, id) => shown(await server.getUser(id)), made.id);
      assert.ok(read.selectedTeam, "a personal team was made and selected all the same");
      assert.equal((await assertRow(world(), read)).raw_json.selected_team_id, read.selectedTeam);
    });
  });

  test("server: a second user with the same e-mail is refused in the SDK's words", async () => {
    const before = await world().sql("select count(*) from neon_identity.users_sync");
    const refusal = await refusalOf(
      app().run(
        ({ server }, email) => server.createUser({ primaryEmail: email, primaryEmailAuthEnabled: true }),
        email,
      ),
    );
    assert.equal(refusal.code, "USER_EMAIL_ALREADY_EXISTS");
    assert.equal(refusal.name, "KnownError<USER_EMAIL_ALREADY_EXISTS>");
    assert.deepEqual(await world().sql("select count(*) from neon_identity.users_sync"), before);
  });

  test("server: read of a user whom nobody has read before", async () => {
    const body = { display_name: "Grace Hopper", primary_email: `grace.${name}@example.com` };
    const made = await world().call("server", "POST", "/users", { body });
    assert.equal(await world().row(made.body.id), undefined, "made behind usertap's back");
    const grace = await app().run(async ({ server, shown }, id) => shown(await server.getUser(id)), made.body.id);
    assert.equal(grace.name, "Grace Hopper");
    await assertRow(world(), grace);
  });

  test("server: read of a user who is not there", async () => {
    const nobody = "3d5c1a0e-5d6c-4c1a-9a37-1f0b3c2d4e5f";
    assert.equal(await app().run(({ server }, id) => server.getUser(id), nobody), null);
    assert.equal(await world().row(nobody), undefined);
  });

  test("server: list, page by page", async () => {
    const listed = await app().run(async ({ server, shown }) => {
      const users = [];
      let cursor;
      do {
        const page = await server.listUsers({ limit: 2, cursor, includeAnonymous: true });
        users.push(...page.map(shown));
        cursor = page.nextCursor;
      } while (cursor);
      return users;
    });
    assert.ok(listed.length >= 6, `${listed.length} users`);
    for (const user of listed) await assertRow(world(), user);
  });

  test("server: update", async () => {
    ada = await app().run(async ({ server, shown, kept }) => {
      await kept.ada.update({ displayName: "Countess Lovelace", clientMetadata: { theme: "dark" } });
      kept.ada = await server.getUser(kept.ada.id);
      return shown(kept.ada);
    });
    assert.equal(ada.name, "Countess Lovelace");
    const row = await assertRow(world(), ada);
    assert.deepEqual(row.raw_json.client_metadata, { theme: "dark" });
  });

  test("server: what one back end has read is kept for the next, and never after a write", async () => {
    const read = async () =>
      app().run(async ({ another, shown }, id) => shown(await another().getUser(id)), ada.id);
    const hits = async () => (await world().status()).cache.hits;
    await read();
    const before = await hits();
    assert.equal((await read()).name, ada.name);
    assert.ok((await hits()) > before, "although the SDK says no-cache with every request");
    for (const name of ["A", "B", "C"]) {
      const seen = await app().run(
        async ({ another, shown }, { id, name }) => {
          await (await another().getUser(id)).update({ displayName: name });
          return shown(await another().getUser(id));
        },
        { id: ada.id, name },
      );
      assert.equal(seen.name, name);
      assert.equal((await read()).name, name);
      const listed = await app().run(async ({ another, shown }) => (await another().listUsers({ limit: 100 })).map(shown));
      assert.equal(listed.find(({ id }) => id === ada.id)?.name, name);
    }
    await app().run(({ another }, { id, name }) => another().getUser(id).then((user) => user.update({ displayName: name })), ada);
  });

  test("server: metadata", async () => {
    await app().run(async ({ kept }) => {
      await kept.ada.setServerMetadata({ plan: "free", seats: 3 });
      await kept.ada.setClientReadOnlyMetadata({ since: 1843 });
    });
    const row = await assertRow(world(), ada);
    assert.deepEqual(row.raw_json.server_metadata, { plan: "free", seats: 3 });
    assert.deepEqual(row.raw_json.client_read_only_metadata, { since: 1843 });
  });

  test("server: a further e-mail becomes the primary one", async () => {
    const second = `countess.${name}@example.com`;
    await app().run(async ({ kept }, value) => {
      kept.channel = await kept.ada.createContactChannel({ type: "email", value, usedForAuth: false });
    }, second);
    await assertRow(world(), ada);
    ada = await app().run(async ({ server, shown, kept }) => {
      await kept.channel.update({ isPrimary: true, isVerified: true });
      return shown(await server.getUser(kept.ada.id));
    });
    assert.equal(ada.email, second);
    const row = await assertRow(world(), ada);
    assert.equal(row.raw_json.primary_email_verified, true);
  });

  test("server: a team, selected", async () => {
    ada = await app().run(async ({ server, shown, kept }) => {
      kept.team = await server.createTeam({ displayName: "Analysts" });
      await kept.team.addUser(kept.ada.id);
      await kept.ada.setSelectedTeam(kept.team);
      return { ...shown(await server.getUser(kept.ada.id)), team: kept.team.id };
    });
    team = ada.team;
    assert.equal(ada.selectedTeam, team);
    const row = await assertRow(world(), ada);
    assert.equal(row.raw_json.selected_team_id, team);
  });

  test("server: delete", async () => {
    await app().run(({ kept }) => kept.ada.delete());
    await assertDeleted(world(), ada.id);
    assert.equal(await app().run(({ server }, id) => server.getUser(id), ada.id), null);
    await assertDeleted(world(), ada.id);
  });
}
