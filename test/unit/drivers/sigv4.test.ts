import { AwsV4Signer } from 'aws4fetch';
import { describe, expect, it } from 'vitest';
import { presign, signRequest, type S3Connection, type S3Request } from '../../../src/drivers/s3/sign.ts';
import { readShared, sharedMissing } from '../../support/shared.ts';

/** The examples of "Authenticating Requests (AWS Signature Version 4)" in Amazon's S3 API reference. */
const connection: S3Connection = {
  endpoint: 'https://s3.amazonaws.com',
  region: 'us-east-1',
  bucket: 'examplebucket',
  pathStyle: false,
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};
const NOW = Date.parse('2013-05-24T00:00:00Z');

describe('S3 signatures', () => {
  it.each<[string, S3Request, string]>([
    [
      'an upload',
      {
        method: 'PUT',
        key: 'test$file.text',
        headers: { date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class': 'REDUCED_REDUNDANCY' },
        body: new TextEncoder().encode('Welcome to Amazon S3.'),
      },
      '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
    ],
    [
      'a query without a value',
      { method: 'GET', query: { lifecycle: '' } },
      'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
    ],
    [
      'a list',
      { method: 'GET', query: { 'max-keys': '2', prefix: 'J' } },
      '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
    ],
  ])('of %s are those of Amazon', async (_, request, signature) => {
    const signed = await signRequest(connection, request, NOW);
    expect(signed.ok && signed.value.headers['authorization']).toContain(`Signature=${signature}`);
    expect(signed.ok && new URL(signed.value.url).host).toBe('examplebucket.s3.amazonaws.com');
  });

  it('of a presigned address are those of Amazon', async () => {
    const url = await presign(connection, { method: 'GET', key: 'test.txt' }, 86_400, NOW);
    expect(url.ok && new URL(url.value).searchParams.get('X-Amz-Signature')).toBe(
      'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
    );
  });

  it('change with every part of the request', async () => {
    const base: S3Request = { method: 'PUT', key: 'a', query: { x: '1' }, body: new Uint8Array([1]) };
    const others: S3Request[] = [
      base,
      { ...base, method: 'POST' },
      { ...base, key: 'b' },
      { ...base, query: { x: '2' } },
      { ...base, body: new Uint8Array([2]) },
      { ...base, headers: { 'x-amz-meta-a': 'b' } },
      { ...base, bucket: 'another' },
    ];
    const signatures = await Promise.all(
      others.map(async (request) => {
        const signed = await signRequest(connection, request, NOW);
        return signed.ok ? /Signature=(\w+)/.exec(signed.value.headers['authorization'] ?? '')?.[1] : undefined;
      }),
    );
    expect(new Set(signatures).size).toBe(others.length);
    expect(signatures).not.toContain(undefined);
  });
});

interface Context {
  readonly credentials: {
    readonly access_key_id: string;
    readonly secret_access_key: string;
    readonly token?: string;
  };
  readonly omit_session_token?: boolean;
  readonly region: string;
  readonly service: string;
  readonly timestamp: string;
  readonly sign_body: boolean;
  readonly expiration_in_seconds: number;
}

type Case = Readonly<Record<string, string>> & { readonly 'context.json': Context };

/** `URL` resolves `.` and `..`, and `Headers` joins values by a comma and a space: `fetch` cannot send these. */
const UNFIT = /-unnormalized$|^get-header-key-duplicate$/;

describe.skipIf(sharedMissing)('the signer', () => {
  const suite = JSON.parse(readShared('suites/aws-sigv4.json') ?? '{}') as Record<string, Case>;
  const cases = Object.entries(suite).filter(([name]) => !UNFIT.test(name));

  it('is held to the suite of AWS, but for what fetch cannot send', () => {
    expect(Object.keys(suite)).toHaveLength(26);
    expect(cases).toHaveLength(19);
  });

  it.each(cases)('signs the headers of %s as AWS does', async (_, files) => {
    const context = files['context.json'];
    const request = requestOf(files['request.txt'] ?? '');
    if (context.sign_body) request.headers.set('x-amz-content-sha256', await sha256(request.body));
    const { headers } = await new AwsV4Signer({ ...optionsOf(context), ...request }).sign();
    expect(headers.get('authorization')).toContain(`Signature=${files['header-signature.txt']?.trim()}`);
  });

  it.each(cases)('signs the query of %s as AWS does', async (_, files) => {
    const context = files['context.json'];
    const request = requestOf(files['request.txt'] ?? '');
    const url = new URL(request.url);
    url.searchParams.set('X-Amz-Expires', String(context.expiration_in_seconds));
    const signed = await new AwsV4Signer({ ...optionsOf(context), ...request, url: url.href, signQuery: true }).sign();
    expect(signed.url.searchParams.get('X-Amz-Signature')).toBe(files['query-signature.txt']?.trim());
  });
});

const optionsOf = (context: Context) => ({
  service: context.service,
  region: context.region,
  accessKeyId: context.credentials.access_key_id,
  secretAccessKey: context.credentials.secret_access_key,
  ...(context.credentials.token !== undefined && { sessionToken: context.credentials.token }),
  appendSessionToken: context.omit_session_token === true,
  datetime: context.timestamp.replaceAll(/[:-]/g, ''),
  allHeaders: true,
  singleEncode: true,
});

async function sha256(text: string): Promise<string> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text))).toString('hex');
}

function requestOf(text: string): { method: string; url: string; headers: Headers; body: string } {
  const [head = '', body = ''] = text.split(/\n\n([^]*)/);
  const [first = '', ...lines] = head.trimEnd().split('\n');
  const [, method = '', path = ''] = /^(\S+) (.*) HTTP\/1\.1$/.exec(first) ?? [];
  const headers = new Headers();
  let host = '';
  for (const line of lines.join('\n').replace(/\n\s+/g, ' ').split('\n')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    if (name.toLowerCase() === 'host') host = line.slice(colon + 1).trim();
    else headers.append(name, line.slice(colon + 1).trim());
  }
  return { method, url: `https://${host}${path}`, headers, body };
}
