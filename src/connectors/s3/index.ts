/** `s3.*`: objects in S3 and in what speaks like it. */

import * as v from 'valibot';
import { endpoint, text } from '../kit/object-schemas.ts';
import { multipartAction, objectActions, presignAction } from '../kit/objects.ts';
import { originOf, type Connector, type StoreContext } from '../kit/types.ts';
import { ok, type Result } from '../../core/errors.ts';
import type { ObjectStore } from '../../drivers/kit/objects.ts';
import { createS3Store } from '../../drivers/s3/s3.ts';

const settings = v.strictObject({
  endpoint: v.pipe(endpoint, v.description('Without the bucket, e.g. https://s3.eu-central-1.amazonaws.com.')),
  region: v.pipe(text, v.description('E.g. eu-central-1; `auto` for R2.')),
  bucket: v.optional(v.pipe(text, v.description('Used where a step names none.'))),
  pathStyle: v.optional(v.pipe(v.boolean(), v.description('False puts the bucket before the host. Default true.'))),
});

const secrets = v.strictObject({
  accessKeyId: text,
  secretAccessKey: text,
  sessionToken: v.optional(text),
});

const connection = { settings, secrets };

const open = (
  context: StoreContext<v.InferOutput<typeof settings>, v.InferOutput<typeof secrets>>,
): Result<ObjectStore> => ok(createS3Store({ ...context.connection.settings, ...context.connection.secrets }, context));

export const s3: Connector = {
  name: 's3',
  title: 'S3',
  connection: {
    required: true,
    ...connection,
    // Without a bucket of its own there is nothing that the credentials are sure to be good for.
    probe: ({ bucket }: v.InferOutput<typeof settings>) =>
      bucket === undefined ? undefined : { action: 'list', params: { limit: 1 } },
    origins: (at: v.InferOutput<typeof settings>) =>
      at.pathStyle === false ? [originOf(at.endpoint).replace('//', '//*.')] : [originOf(at.endpoint)],
    store: open,
  },
  actions: {
    ...objectActions(open, connection),
    presign: presignAction(open, connection),
    multipart: multipartAction(open, connection),
  },
};
