/** `npm run bench -- <name>`: both sides in one run where there are two, a `RATIO` line at the end. */

const benches: Readonly<Record<string, () => Promise<() => Promise<void>>>> = {
  inline: async () => (await import('./inline.ts')).inline,
  auth: async () => (await import('./auth.ts')).auth,
  durable: async () => (await import('./durable.ts')).durable,
  fanout: async () => (await import('./fanout.ts')).fanout,
  history: async () => (await import('./history.ts')).history,
  cost: async () => (await import('./cost.ts')).cost,
  burst: async () => (await import('./burst.ts')).burst,
  routes: async () => (await import('./routes.ts')).routes,
  ingest: async () => (await import('./ingest.ts')).ingest,
  proxy: async () => (await import('./proxy.ts')).proxy,
  limit: async () => (await import('./limit.ts')).limit,
  expression: async () => (await import('./expression.ts')).expression,
  outbound: async () => (await import('./outbound.ts')).outbound,
};

const chosen = benches[process.argv[2] ?? ''];
if (chosen === undefined) {
  console.error(`Which bench? npm run bench -- ${Object.keys(benches).join(' | ')}`);
  process.exit(1);
}
await (
  await chosen()
)();
export {};
