// The app itself: the SDK as users set it up, told over IPC what to do.
import { subscribe } from "node:diagnostics_channel";

const seen = [];
// Node's own fetch tells of each request before it leaves.
subscribe("undici:request:create", ({ request }) => {
  seen.push({ origin: request.origin, method: request.method, path: request.path, answered: false, request });
});
subscribe("undici:request:trailers", ({ request }) => {
  const one = seen.find((one) => one.request === request);
  if (one) one.answered = true;
});

const { StackServerApp, StackClientApp } = await import(process.env.STACK_SDK);
const common = { ...(process.env.BASE_URL && { baseUrl: process.env.BASE_URL }), redirectMethod: "none" };

const stage = {
  server: new StackServerApp({ ...common, tokenStore: "memory" }),
  /** A browser's or phone's app: no secret, tokens in memory. */
  client: () => new StackClientApp({ ...common, tokenStore: "memory" }),
  /** What the steps of a test hand on to later ones. */
  kept: {},
  requests: () => seen.map(({ request: _, ...one }) => one),
  /** What the SDK shows of a user, as plain data. */
  shown: (user) =>
    user && {
      id: user.id,
      name: user.displayName,
      email: user.primaryEmail,
      emailVerified: user.primaryEmailVerified,
      signedUpAt: user.signedUpAt,
      clientMetadata: user.clientMetadata,
      serverMetadata: user.serverMetadata,
      selectedTeam: user.selectedTeam?.id ?? null,
    },
  /** An error of the SDK's, as plain data. */
  refusal: (error) => ({ name: error.name, code: codeOf(error), status: error.statusCode, message: error.message }),
};

/** Only the SDK's own errors have one. */
function codeOf(error) {
  return error.constructor.errorCode;
}

process.on("message", async ({ call, step, input }) => {
  try {
    // The tests' own source, from their own process.
    const result = await (0, eval)(`(${step})`)(stage, input);
    process.send({ call, result });
  } catch (error) {
    process.send({ call, error: stage.refusal(error) });
  }
});
process.on("disconnect", () => process.exit());
process.send({ call: 0 });
