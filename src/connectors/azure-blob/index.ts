/** `azure-blob.*`: block blobs of Azure Storage. */

import * as v from 'valibot';
import { endpoint, text } from '../kit/object-schemas.ts';
import { multipartAction, objectActions, presignAction } from '../kit/objects.ts';
import { originOf, type Connector, type StoreContext } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { createAzureBlobStore } from '../../drivers/azure-blob/azure-blob.ts';
import type { ObjectStore } from '../../drivers/kit/objects.ts';

const settings = v.strictObject({
  account: v.pipe(text, v.regex(/^[a-z0-9]{3,24}$/, 'Must be the name of a storage account: 3 to 24 of a-z and 0-9.')),
  endpoint: v.optional(v.pipe(endpoint, v.description('Default https://<account>.blob.core.windows.net.'))),
  bucket: v.optional(v.pipe(text, v.description('The container where a step names none.'))),
});

const secrets = v.strictObject({
  accountKey: v.optional(
    v.pipe(text, v.base64('Must be the base64 that Azure shows.'), v.description('Either this or `sas`.')),
  ),
  sas: v.optional(v.pipe(text, v.description('The query of a shared access signature, e.g. sv=…&sp=rl&sig=….'))),
});

type Settings = v.InferOutput<typeof settings>;

const endpointOf = ({ account, endpoint: given }: Settings): string =>
  given ?? `https://${account}.blob.core.windows.net`;

function open(context: StoreContext<Settings, v.InferOutput<typeof secrets>>): Result<ObjectStore> {
  const { settings: at, secrets: by } = context.connection;
  if ((by.accountKey === undefined) === (by.sas === undefined)) {
    return fail('connection.invalid', 'Give the connection either `accountKey` or `sas`.');
  }
  return ok(createAzureBlobStore({ ...at, ...by, endpoint: endpointOf(at) }, context));
}

const connection = { settings, secrets };

export const azureBlob: Connector = {
  name: 'azure-blob',
  title: 'Azure Blob Storage',
  connection: {
    required: true,
    ...connection,
    origins: (at: Settings) => [originOf(endpointOf(at))],
    store: open,
  },
  actions: {
    ...objectActions(open, connection),
    presign: presignAction(open, connection),
    multipart: multipartAction(open, connection),
  },
};
