/** `postgres.*`: any Postgres, over TCP or Neon's HTTP protocol; docs/postgres.md tells which when. */

import type { Connector } from '../kit/types.ts';
import { builder } from './builder.ts';
import { channel } from './channel.ts';
import { facts } from './connection.ts';
import { statements } from './statements.ts';

export const postgres: Connector = {
  name: 'postgres',
  title: 'Postgres',
  connection: facts,
  actions: { ...statements, ...builder },
  subscriptions: { channel },
};
