/** The connectors that this Worker has. */

import { azureBlob } from './azure-blob/index.ts';
import { d1 } from './d1/index.ts';
import { data } from './data/index.ts';
import { docker } from './docker/index.ts';
import { flow } from './flow/index.ts';
import { gcs } from './gcs/index.ts';
import { git } from './git/index.ts';
import { http } from './http/index.ts';
import { kafka } from './kafka/index.ts';
import type { Connector } from './kit/types.ts';
import { lambda } from './lambda/index.ts';
import { mqtt } from './mqtt/index.ts';
import { mongodb } from './mongodb/index.ts';
import { mysql } from './mysql/index.ts';
import { nats } from './nats/index.ts';
import { objects } from './objects/index.ts';
import { postgres } from './postgres/index.ts';
import { queueConnector } from './queue/index.ts';
import { r2 } from './r2/index.ts';
import { rabbitmq } from './rabbitmq/index.ts';
import { redis } from './redis/index.ts';
import { s3 } from './s3/index.ts';
import { sqlite } from './sqlite/index.ts';
import { smtp } from './smtp/index.ts';
import { webhooks } from './webhooks/index.ts';

export const connectors: readonly Connector[] = [
  flow,
  data,
  http,
  d1,
  sqlite,
  mqtt,
  mongodb,
  mysql,
  postgres,
  kafka,
  rabbitmq,
  redis,
  s3,
  r2,
  azureBlob,
  gcs,
  objects,
  lambda,
  git,
  docker,
  queueConnector,
  smtp,
  nats,
  webhooks,
];
