/** The object stores of the test run, each by its connector and a working connection. */

import { azureBlob } from '../../../src/connectors/azure-blob/index.ts';
import { gcs } from '../../../src/connectors/gcs/index.ts';
import type { Connector } from '../../../src/connectors/kit/types.ts';
import { r2 } from '../../../src/connectors/r2/index.ts';
import { s3 } from '../../../src/connectors/s3/index.ts';
import { servers, type Credentials } from './fixtures.ts';

export interface TestStore {
  readonly connector: Connector;
  readonly credentials: Credentials | undefined;
}

const { endpoint, region, bucket, accessKeyId, secretAccessKey } = servers.s3;
const { endpoint: blobs, account, accountKey, bucket: container } = servers.azure;
const { endpoint: google, serviceAccount } = servers.gcs;

export const stores = {
  s3: {
    connector: s3,
    credentials: { settings: { endpoint, region, bucket }, secrets: { accessKeyId, secretAccessKey } },
  },
  'azure-blob': {
    connector: azureBlob,
    credentials: { settings: { account, endpoint: blobs, bucket: container }, secrets: { accountKey } },
  },
  gcs: {
    connector: gcs,
    credentials: {
      settings: { endpoint: google, tokenEndpoint: `${google}/token`, bucket: servers.gcs.bucket },
      secrets: { serviceAccount: { ...serviceAccount, type: 'service_account' } },
    },
  },
  r2: { connector: r2, credentials: undefined },
} satisfies Record<string, TestStore>;

export type StoreName = keyof typeof stores;
