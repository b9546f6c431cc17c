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
  /** Another back end of the same app: it remembers nothing of what this one has read. */
  another: () => new StackServerApp({ ...common, tokenStore: "memory" }),
  /** A browser's or phone's app: no secret, tokens in memory. */
  client: () => new StackClientApp({ ...common, tokenStore: "memory" }),
  /** Neither redirects nor sends an e-mail; throws what the SDK would show as an error. */
  signUp: async (client, { email, password }) =>
    orThrow(await client.signUpWithCredential({ email, password, noRedirect: true, noVerificationCallback: true })),
  signIn: async (client, { email, password }) =>
    orThrow(await client.signInWithCredential({ email, password, noRedirect: true })),
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
};

function orThrow(result) {
  if (result.status === "error") throw result.error;
}

/** An error as plain data; only the SDK's own have a code. */
function told(error) {
  return { name: error.name, code: error.constructor.errorCode, status: error.statusCode, message: error.message };
}

process.on("message", async ({ call, step, input }) => {
  try {
    // The tests' own source, from their own process.
    const result = await (0, eval)(`(${step})`)(stage, input);
    process.send({ call, result });
  } catch (error) {
    process.send({ call, error: told(error) });
  }
});
process.on("disconnect", () => process.exit());
process.send({ call: 0 });
