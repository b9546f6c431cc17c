// A browser's or phone's app: answers that carry an id, a part of a user, or nothing.
import assert from "node:assert/strict";
import { assertDeleted, assertRow, assertRowOf, refusalOf } from "../harness/compare.mjs";

const PASSWORD = "correct horse battery";

export function clientJourney(test, { world, app, name }) {
  const email = `emmy.${name}@example.com`;
  let emmy;

  test("client: sign-up, and a foreign key to the new user at once", async () => {
    const id = await app().run(
      async ({ client, kept, signUp }, account) => {
        kept.client = client();
        await signUp(kept.client, account);
        // From the token that the sign-up brought: no further request.
        const { accessToken } = kept.client._memoryTokenStore.get();
        return JSON.parse(atob(accessToken.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub;
      },
      { email, password: PASSWORD },
    );
    const [todo] = await world().sql("insert into todos (task, user_id) values ('read', $1) returning user_id", [id]);
    assert.equal(todo.user_id, id);
    const row = await assertRowOf(world(), id);
    assert.equal(row.email, email);
  });

  test("client: /users/me", async () => {
    emmy = await app().run(async ({ kept, shown }) => {
      kept.me = await kept.client.getUser();
      return shown(kept.me);
    });
    assert.equal(emmy.email, email);
    await assertRow(world(), emmy);
  });

  test("client: update me", async () => {
    emmy = await app().run(async ({ kept, shown }) => {
      await kept.me.update({ displayName: "Emmy Noether", clientMetadata: { theme: "light" } });
      kept.me = await kept.client.getUser();
      return shown(kept.me);
    });
    assert.equal(emmy.name, "Emmy Noether");
    const row = await assertRow(world(), emmy);
    assert.deepEqual(row.raw_json.client_metadata, { theme: "light" });
  });

  test("client: a second sign-up with the same e-mail is refused in the SDK's words", async () => {
    const again = app().run(({ client, signUp }, account) => signUp(client(), account), { email, password: PASSWORD });
    const refusal = await refusalOf(again);
    assert.equal(refusal.code, "USER_EMAIL_ALREADY_EXISTS");
    await assertRow(world(), emmy);
  });

  test("client: a refresh token gets a new access token", async () => {
    const refreshed = await app().run(async ({ kept, client, shown }) => {
      const { refreshToken } = kept.client._memoryTokenStore.get();
      return shown(await client().getUser({ tokenStore: { accessToken: null, refreshToken } }));
    });
    assert.equal(refreshed.id, emmy.id);
    await assertRow(world(), refreshed);
  });

  test("client: sign-out", async () => {
    const after = await app().run(async ({ kept, shown }) => {
      await kept.me.signOut();
      return shown(await kept.client.getUser());
    });
    assert.equal(after, null);
    await assertRow(world(), emmy);
  });

  test("client: a wrong password is refused in the SDK's words", async () => {
    const refusal = await refusalOf(signIn(app(), email, "wrong horse battery"));
    assert.equal(refusal.code, "EMAIL_PASSWORD_MISMATCH");
    assert.equal(refusal.name, "KnownError<EMAIL_PASSWORD_MISMATCH>");
    await assertRow(world(), emmy);
  });

  test("client: sign-in", async () => {
    const again = await signIn(app(), email, PASSWORD);
    assert.equal(again.id, emmy.id);
    await assertRow(world(), again);
  });

  test("client: the first sight of a user is a sign-in", async () => {
    const stranger = await signedUpElsewhere(world(), `first.${name}@example.com`);
    const account = { email: stranger.email, password: PASSWORD };
    await app().run(({ client, signIn }, account) => signIn(client(), account), account);
    const row = await assertRowOf(world(), stranger.user_id);
    assert.equal(row.email, stranger.email);
  });

  test("client: the first sight of a user is a token's refresh", async () => {
    const stranger = await signedUpElsewhere(world(), `token.${name}@example.com`);
    const token = await app().run(
      ({ client }, refreshToken) => client().getAccessToken({ tokenStore: { accessToken: null, refreshToken } }),
      stranger.refresh_token,
    );
    assert.ok(token, "the SDK has a new token");
    await assertRowOf(world(), stranger.user_id);
  });

  test("client: an anonymous visitor, who then signs up and stays the same user", async () => {
    const visitor = await app().run(async ({ client, kept, shown }) => {
      kept.visitor = client();
      return shown(await kept.visitor.getUser({ or: "anonymous" }));
    });
    assert.equal(visitor.email, null);
    await world().sql("insert into todos (task, user_id) values ('look', $1)", [visitor.id]);
    const row = await assertRow(world(), visitor);
    assert.equal(row.raw_json.is_anonymous, true);
    const known = await app().run(
      async ({ kept, shown, signUp }, account) => {
        await signUp(kept.visitor, account);
        return shown(await kept.visitor.getUser());
      },
      { email: `visitor.${name}@example.com`, password: PASSWORD },
    );
    assert.equal(known.id, visitor.id);
    assert.notEqual(known.signedUpAt.getTime(), visitor.signedUpAt.getTime());
    await assertRow(world(), known);
  });

  test("client: delete me, which the project does not allow", async () => {
    const refusal = await refusalOf(app().run(async ({ kept }) => (await kept.client.getUser()).delete()));
    assert.match(refusal.message, /deletion is not enabled/i);
    await assertRow(world(), emmy);
  });

  test("client: delete me, which it does", async () => {
    await world().configured({ client_user_deletion_enabled: true }, () =>
      app().run(async ({ kept }) => (await kept.client.getUser()).delete()),
    );
    await assertDeleted(world(), emmy.id);
    // Until it is removed, the row holds what refers to it.
    const todos = await world().sql("select task from todos where user_id = $1", [emmy.id]);
    assert.deepEqual(todos, [{ task: "read" }]);
  });
}

function signIn(app, email, password) {
  return app.run(
    async ({ client, kept, shown, signIn }, account) => {
      const fresh = client();
      await signIn(fresh, account);
      kept.client = fresh;
      return shown(await fresh.getUser());
    },
    { email, password },
  );
}

/** A sign-up that usertap has not seen. */
async function signedUpElsewhere(world, email) {
  const answer = await world.call("client", "POST", "/auth/password/sign-up", { body: { email, password: PASSWORD } });
  assert.equal(await world.row(answer.body.user_id), undefined);
  return { email, ...answer.body };
}
