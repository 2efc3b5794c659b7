/**
 * The one place where the gateway's traffic leaves: nothing else names the global `fetch`, or a socket
 * (scripts/architecture.ts holds it).
 */

import { connect } from 'cloudflare:sockets';
import { createEgressPolicy } from '../core/policy/egress.ts';
import { createGuardedConnect, type GuardedConnect, type HyperdriveByName } from '../drivers/http/guarded-connect.ts';
import { createGuardedFetch, type GuardedFetch } from '../drivers/http/guarded-fetch.ts';
import type { Env } from '../env.ts';

export interface WayOut {
  readonly fetch: GuardedFetch;
  readonly connect: GuardedConnect;
  readonly hyperdrive: HyperdriveByName;
}

let built: { readonly env: Env; readonly wayOut: WayOut } | undefined;

export function wayOutOf(env: Env): WayOut {
  if (built?.env !== env) built = { env, wayOut: build(env) };
  return built.wayOut;
}

function build(env: Env): WayOut {
  const { EGRESS: egress } = env;
  const policy = createEgressPolicy(env.TIDEGATE_EGRESS_ALLOW ?? '', env.TIDEGATE_EGRESS_PORTS ?? '');
  return {
    fetch: createGuardedFetch(policy, egress === undefined ? fetch : (input, init) => egress.fetch(input, init)),
    connect: createGuardedConnect(
      policy,
      egress === undefined ? connect : (address, options) => egress.connect(address, options),
    ),
    hyperdrive: (binding) => {
      const found: unknown = Reflect.get(env, binding);
      return isHyperdrive(found) ? found : undefined;
    },
  };
}

const isHyperdrive = (binding: unknown): binding is Hyperdrive =>
  typeof binding === 'object' && binding !== null && 'connect' in binding && 'connectionString' in binding;
