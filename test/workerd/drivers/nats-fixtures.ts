/** The servers of NATS as connections, and the library of the NATS authors as the other side. */

import { connect } from 'cloudflare:sockets';
import { wsconnect, type NatsConnection } from '@nats-io/nats-core';
import { onTestFinished } from 'vitest';
import { nats } from '../../../src/connectors/nats/index.ts';
import { ok } from '../../../src/core/errors.ts';
import type { GuardedConnect } from '../../../src/drivers/http/guarded-connect.ts';
import { actionsOf, servers, type Credentials } from './fixtures.ts';

const { main } = servers.nats;
export const secrets = { user: main.user, password: main.password };
export const overWebSocket: Credentials = { settings: { url: main.webSocket }, secrets };
export const overTcp: Credentials = { settings: { url: `nats://${main.tcp}` }, secrets };

const actions = actionsOf(nats, overTcp);
let calls = 0;
/** Each as a step of its own: with the key of another, a stream would take the message for a repeated one. */
export const call = (action: string, params: unknown) => {
  calls += 1;
  return actions(action, params, { idempotencyKey: `run:step:${calls}` });
};

export async function otherSide(): Promise<NatsConnection> {
  const other = await wsconnect({ servers: main.webSocket, user: main.user, pass: main.password });
  onTestFinished(() => other.close());
  return other;
}

/** Sockets that the test can break off. */
export function breakable(): { connect: GuardedConnect; breakOff: () => Promise<void> } {
  const opened: Socket[] = [];
  return {
    connect: (address, options) => {
      const socket = connect(address, options);
      opened.push(socket);
      return ok(socket);
    },
    breakOff: async () => {
      await Promise.all(opened.map((socket) => socket.close()));
    },
  };
}

let names = 0;
/** No test sees what another has left. */
export const ownName = (kind: string): string => {
  names += 1;
  return `${kind}_${names}_${crypto.randomUUID().slice(0, 8)}`;
};
