/** `mysql.*`: MySQL and MariaDB, over TCP or over the HTTP protocol of PlanetScale; see docs/mysql.md. */

import type { Connector } from '../kit/types.ts';
import { builder } from './builder.ts';
import { facts } from './connection.ts';
import { statements } from './statements.ts';

export const mysql: Connector = {
  name: 'mysql',
  title: 'MySQL and MariaDB',
  connection: facts,
  actions: { ...statements, ...builder },
};
