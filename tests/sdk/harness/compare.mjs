// What must be true of a row the moment an answer is there.
import assert from "node:assert/strict";

/** Written at most once an hour, see the README. */
const VOLATILE = ["last_active_at_millis"];

/** The row says what the SDK showed, and all that the provider knows. */
export async function assertRow(world, shown) {
  const row = await world.row(shown.id);
  assert.ok(row, `there is no row of ${shown.id}`);
  const { name, email, created_at: createdAt, deleted_at: deletedAt } = row;
  assert.deepEqual(
    { name, email, createdAt, deletedAt },
    { name: shown.name, email: shown.email, createdAt: shown.signedUpAt, deletedAt: null },
  );
  await assertProvided(world, row);
  return row;
}

/** The row of a user of whom the SDK showed only that there is one. */
export async function assertRowOf(world, id) {
  const row = await world.row(id);
  assert.ok(row, `there is no row of ${id}`);
  assert.equal(row.deleted_at, null);
  await assertProvided(world, row);
  return row;
}

async function assertProvided(world, row) {
  const user = await world.provided(row.id);
  assert.ok(user, "the provider knows the user");
  assert.deepEqual(lasting(row.raw_json), lasting(user));
  assert.equal(row.name, user.display_name);
  assert.equal(row.email, user.primary_email);
  assert.equal(row.created_at.getTime(), user.signed_up_at_millis);
}

function lasting(user) {
  return Object.fromEntries(Object.entries(user).filter(([field]) => !VOLATILE.includes(field)));
}

/** The row of a deleted user stays, and says so. */
export async function assertDeleted(world, id) {
  const row = await world.row(id);
  assert.ok(row?.deleted_at, "deleted_at is set");
  assert.equal(await world.provided(id), null, "the provider no longer knows the user");
}

/** The error that a step of an app ended with. */
export async function refusalOf(running) {
  const error = await running.then(
    (result) => assert.fail(`it was not refused: ${JSON.stringify(result)}`),
    (error) => error,
  );
  assert.ok(error.cause, error.stack);
  return error.cause;
}
