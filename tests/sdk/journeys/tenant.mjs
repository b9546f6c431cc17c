// An app of another project at the same provider, through the same usertap: served, not recorded.
import assert from "node:assert/strict";
import { App } from "../harness/app.mjs";

export function strangersJourney(test, { world, version }) {
  test(`${version}: an app of another project works, and leaves no row`, async (t) => {
    const project = world().other;
    const app = await App.start({ version, pointing: "constructor", base: world().proxy, project });
    t.after(() => app.end());
    const before = await rows(world());
    const made = await app.run(async ({ server, client, shown, signUp }, email) => {
      const user = await server.createUser({ displayName: "A stranger" });
      await user.update({ displayName: "Still a stranger" });
      const visitor = client();
      await signUp(visitor, { email, password: "correct horse battery" });
      const me = await visitor.getUser();
      const shownUser = shown(await server.getUser(user.id));
      const gone = await server.createUser({ displayName: "Gone" });
      await gone.delete();
      return { user: shownUser, me: shown(me), gone: await server.getUser(gone.id) };
    }, `stranger.${version}@example.com`);
    assert.equal(made.user.name, "Still a stranger");
    assert.equal(made.me.email, `stranger.${version}@example.com`);
    assert.equal(made.gone, null);
    assert.ok(await world().provided(made.user.id, { of: project }), "the other project has the user");
    assert.deepEqual(await rows(world()), before);
  });

  test(`${version}: another project's delete of one of ours leaves the row`, async (t) => {
    const body = { display_name: "Ours" };
    const ours = (await world().call("server", "POST", "/users", { body })).body.id;
    await fetch(`${world().proxy}/_usertap/users/${ours}?ensure=1`, { headers: serverHeaders(world().project) });
    assert.equal((await world().row(ours)).deleted_at, null);
    const project = world().other;
    const app = await App.start({ version, pointing: "constructor", base: world().proxy, project });
    t.after(() => app.end());
    assert.equal(await app.run(({ server }, id) => server.getUser(id), ours), null);
    const row = await world().row(ours);
    assert.deepEqual([row.name, row.deleted_at], ["Ours", null]);
  });
}

function rows(world) {
  return world.sql("select id, name, deleted_at from neon_identity.users_sync order by id");
}

function serverHeaders(project) {
  return {
    "x-stack-project-id": project.id,
    "x-stack-access-type": "server",
    "x-stack-secret-server-key": project.serverKey,
  };
}
