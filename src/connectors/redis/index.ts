/** `redis.*`: any Redis, over TCP or over Upstash's REST protocol; docs/redis.md. */

import { collections } from './collections.ts';
import { facts } from './connection.ts';
import { scripts } from './scripts.ts';
import { streams } from './streams.ts';
import { subscriptions } from './subscriptions.ts';
import { values } from './values.ts';
import type { Connector } from '../kit/types.ts';

export const redis: Connector = {
  name: 'redis',
  title: 'Redis',
  connection: facts,
  actions: { ...values, ...collections, ...streams, ...scripts },
  subscriptions,
};
