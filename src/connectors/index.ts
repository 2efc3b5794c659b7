/** The connectors that this Worker has. */

import { d1 } from './d1/index.ts';
import { data } from './data/index.ts';
import { flow } from './flow/index.ts';
import { http } from './http/index.ts';
import type { Connector } from './kit/types.ts';
import { mysql } from './mysql/index.ts';
import { postgres } from './postgres/index.ts';
import { redis } from './redis/index.ts';
import { s3 } from './s3/index.ts';
import { webhooks } from './webhooks/index.ts';

export const connectors: readonly Connector[] = [flow, data, http, d1, mysql, postgres, redis, s3, webhooks];
