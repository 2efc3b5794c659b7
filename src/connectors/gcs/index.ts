/** `gcs.*`: objects in Google Cloud Storage, with a service account or with HMAC keys. */

import * as v from 'valibot';
import { endpoint, text } from '../kit/object-schemas.ts';
import { objectActions, presignAction } from '../kit/objects.ts';
import { originOf, type Connector, type StoreContext } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { createGcsStore } from '../../drivers/gcs/gcs.ts';
import type { ObjectStore } from '../../drivers/kit/objects.ts';
import { createS3Store } from '../../drivers/s3/s3.ts';

const settings = v.strictObject({
  bucket: v.optional(v.pipe(text, v.description('Used where a step names none.'))),
  endpoint: v.optional(endpoint, 'https://storage.googleapis.com'),
  tokenEndpoint: v.optional(
    v.pipe(endpoint, v.description('Where the service account gets its access tokens.')),
    'https://oauth2.googleapis.com/token',
  ),
});

const secrets = v.strictObject({
  serviceAccount: v.optional(
    v.pipe(
      v.looseObject({ client_email: text, private_key: text, private_key_id: v.optional(text) }),
      v.description('The key file of a service account, as JSON. Either this or both HMAC fields.'),
    ),
  ),
  accessKeyId: v.optional(v.pipe(text, v.description('The access id of an HMAC key.'))),
  secretAccessKey: v.optional(v.pipe(text, v.description('The secret of that HMAC key.'))),
});

type Settings = v.InferOutput<typeof settings>;

function open(context: StoreContext<Settings, v.InferOutput<typeof secrets>>): Result<ObjectStore> {
  const { settings: at, secrets: by } = context.connection;
  const { serviceAccount, accessKeyId, secretAccessKey } = by;
  if (serviceAccount !== undefined && accessKeyId === undefined && secretAccessKey === undefined) {
    return ok(createGcsStore({ ...at, serviceAccount }, context));
  }
  if (serviceAccount === undefined && accessKeyId !== undefined && secretAccessKey !== undefined) {
    // With HMAC keys Google speaks the protocol of S3.
    const { endpoint: address, bucket } = at;
    return ok(createS3Store({ endpoint: address, bucket, region: 'auto', accessKeyId, secretAccessKey }, context));
  }
  return fail('connection.invalid', 'Give the connection `serviceAccount`, or `accessKeyId` and `secretAccessKey`.');
}

const connection = { settings, secrets };

export const gcs: Connector = {
  name: 'gcs',
  title: 'Google Cloud Storage',
  connection: {
    required: true,
    ...connection,
    origins: (at: Settings) => [...new Set([originOf(at.endpoint), originOf(at.tokenEndpoint)])],
    store: open,
  },
  actions: { ...objectActions(open, connection), presign: presignAction(open, connection) },
};
