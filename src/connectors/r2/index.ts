/** `r2.*`: the bucket of the owner's data that is bound to the Worker. It needs no connection. */

import { openBucket } from '../kit/bucket.ts';
import { objectActions } from '../kit/objects.ts';
import type { Connector } from '../kit/types.ts';

export const r2: Connector = { name: 'r2', title: 'R2', actions: objectActions(openBucket) };
