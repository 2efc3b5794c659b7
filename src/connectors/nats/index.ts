/** `nats.*`: messages, streams, consumers, and keys and values of a server of NATS. */

import { facts } from './connection.ts';
import { consumerActions } from './consumers.ts';
import { coreActions } from './core.ts';
import { kvActions } from './kv.ts';
import { streamActions } from './streams.ts';
import { subscriptions } from './subscriptions.ts';
import type { Connector } from '../kit/types.ts';

export const nats: Connector = {
  name: 'nats',
  title: 'NATS',
  connection: facts,
  actions: { ...coreActions, ...streamActions, ...consumerActions, ...kvActions },
  subscriptions,
};
