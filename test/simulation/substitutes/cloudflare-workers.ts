/** Stands in for `cloudflare:workers`. */

export function waitUntil(): void {
  // An isolate of the simulation ends with its world only.
}

export class DurableObject<Env = unknown> {
  protected ctx: DurableObjectState;
  protected env: Env;
  constructor(ctx: DurableObjectState, env: Env) {
    this.ctx = ctx;
    this.env = env;
  }
}
