/**
 * A stand-in for Google Cloud Storage: there is none to install. It verifies what Google verifies (RS256
 * assertions, access tokens and their time, V4 addresses) and keeps objects with generations, preconditions, ranges,
 * pages, rewrites and resumable uploads, as the JSON API describes them. All in memory, and of one service account.
 */

import { createHash, generateKeyPairSync, randomUUID, verify, type KeyObject } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { jwtVerify } from 'jose';
import { listen, type Running } from './process.ts';

export interface GcsServiceAccount {
  readonly client_email: string;
  readonly private_key: string;
  readonly private_key_id: string;
}

export interface GcsServer extends Running {
  readonly endpoint: string;
  readonly serviceAccount: GcsServiceAccount;
}

interface Stored {
  readonly name: string;
  readonly generation: number;
  readonly contentType: string | undefined;
  readonly metadata: Readonly<Record<string, string>> | undefined;
  readonly updated: string;
  readonly bytes: Buffer;
}

interface Call {
  readonly request: IncomingMessage;
  readonly url: URL;
  readonly body: Buffer;
  /** Decoded groups of the path. */
  readonly groups: readonly string[];
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

const TOKEN_SECONDS = 3_600;
const EMAIL = 'tidegate@project.iam.gserviceaccount.com';
const CHUNK_BYTES = 256 * 1024;
/** Rewrites of more than this take turns. */
const REWRITE_BYTES = 1024 * 1024;

const refused = (status: number, reason: string, message: string): Answer => ({
  status,
  body: { error: { code: status, message, errors: [{ reason, message, domain: 'global' }] } },
});
const NOT_FOUND = refused(404, 'notFound', 'No such object');
const PRECONDITION = refused(412, 'conditionNotMet', 'At least one of the pre-conditions you specified did not hold.');

/** @param buckets their names */
export async function start(buckets: readonly string[]): Promise<GcsServer> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const service = new Service(publicKey, buckets);
  const server = createServer((request, response) => {
    void service.answer(request, response).catch(() => response.destroy());
  });
  const { port, stop } = await listen(server);
  service.endpoint = `http://127.0.0.1:${port}`;
  const private_key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return {
    endpoint: service.endpoint,
    serviceAccount: { client_email: EMAIL, private_key, private_key_id: 'key-1' },
    stop,
  };
}

class Service {
  endpoint = '';
  readonly #publicKey: KeyObject;
  readonly #buckets: Map<string, Map<string, Stored>>;
  /** Each with the second of its end. */
  readonly #tokens = new Map<string, number>();
  readonly #uploads = new Map<string, { bucket: string; described: Described; call: Call; bytes: Buffer[] }>();
  readonly #rewrites = new Map<string, number>();
  #generation = Date.now() * 1000;

  constructor(publicKey: KeyObject, buckets: readonly string[]) {
    this.#publicKey = publicKey;
    this.#buckets = new Map(buckets.map((name) => [name, new Map<string, Stored>()]));
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.endpoint);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
    const body = Buffer.concat(chunks);
    const { status, headers = {}, body: content } = await this.#route({ request, url, body, groups: [] });
    const sent = Buffer.isBuffer(content) ? content : Buffer.from(content === undefined ? '' : JSON.stringify(content));
    const type = Buffer.isBuffer(content) ? {} : { 'content-type': 'application/json' };
    response.writeHead(status, { ...type, 'content-length': sent.byteLength, ...headers }).end(sent);
  }

  async #route(call: Call): Promise<Answer> {
    const { request, url } = call;
    const path = url.pathname;
    if (path === '/token') return this.#token(call);
    if (url.searchParams.has('X-Goog-Signature')) return this.#signed(call);
    const session = /^\/upload\/session\/(.+)$/.exec(path)?.[1];
    if (session !== undefined) return this.#resume(session, call);
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if ((this.#tokens.get(bearer) ?? 0) < Date.now() / 1000) return refused(401, 'authError', 'Invalid Credentials');
    const routes: readonly (readonly [string, RegExp, (call: Call) => Answer])[] = [
      ['GET', /^\/storage\/v1\/b\/([^/]+)\/o$/, (given) => this.#list(given)],
      ['GET', /^\/storage\/v1\/b\/([^/]+)\/o\/([^/]+)$/, (given) => this.#get(given)],
      ['DELETE', /^\/storage\/v1\/b\/([^/]+)\/o\/([^/]+)$/, (given) => this.#delete(given)],
      [
        'POST',
        /^\/storage\/v1\/b\/([^/]+)\/o\/([^/]+)\/rewriteTo\/b\/([^/]+)\/o\/([^/]+)$/,
        (given) => this.#rewrite(given),
      ],
      ['POST', /^\/upload\/storage\/v1\/b\/([^/]+)\/o$/, (given) => this.#upload(given)],
    ];
    for (const [method, pattern, answer] of routes) {
      const match = request.method === method ? pattern.exec(path) : null;
      if (match === null) continue;
      const groups = match.slice(1).map(decodeURIComponent);
      if (!this.#buckets.has(groups[0] ?? '')) return refused(404, 'notFound', 'The specified bucket does not exist.');
      return answer({ ...call, groups });
    }
    return refused(404, 'notFound', 'Not Found');
  }

  async #token({ body }: Call): Promise<Answer> {
    const form = new URLSearchParams(body.toString());
    const denied = { status: 400, body: { error: 'invalid_grant', error_description: 'Invalid JWT Signature.' } };
    if (form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:jwt-bearer') return denied;
    try {
      const { payload } = await jwtVerify(form.get('assertion') ?? '', this.#publicKey, {
        algorithms: ['RS256'],
        issuer: EMAIL,
        audience: `${this.endpoint}/token`,
        maxTokenAge: TOKEN_SECONDS,
      });
      if (!String(payload['scope']).includes('devstorage.read_write'))
        return { status: 400, body: { error: 'invalid_scope' } };
    } catch {
      return denied;
    }
    const token = randomUUID();
    this.#tokens.set(token, Date.now() / 1000 + TOKEN_SECONDS);
    return { status: 200, body: { access_token: token, expires_in: TOKEN_SECONDS, token_type: 'Bearer' } };
  }

  /** An address of the XML API that carries its signature. */
  #signed({ request, url, body }: Call): Answer {
    const query = url.searchParams;
    const [search = '', signature = ''] = url.search.slice(1).split('&X-Goog-Signature=');
    const names = (query.get('X-Goog-SignedHeaders') ?? '').split(';');
    const headers = names.map((name) => `${name}:${String(request.headers[name] ?? '')}\n`).join('');
    const canonical = [request.method, url.pathname, search, headers, names.join(';'), 'UNSIGNED-PAYLOAD'].join('\n');
    const stamp = query.get('X-Goog-Date') ?? '';
    const scope = (query.get('X-Goog-Credential') ?? '').split('/').slice(1).join('/');
    const text = [query.get('X-Goog-Algorithm'), stamp, scope, createHash('sha256').update(canonical).digest('hex')];
    const isTrue = verify('sha256', Buffer.from(text.join('\n')), this.#publicKey, Buffer.from(signature, 'hex'));
    const signedAt = Date.parse(stamp.replace(/(....)(..)(..)T(..)(..)(..)Z/, '$1-$2-$3T$4:$5:$6Z'));
    const isLate = Date.now() > signedAt + Number(query.get('X-Goog-Expires')) * 1000;
    if (!isTrue || isLate || !names.includes('host'))
      return { status: isLate ? 400 : 403, body: Buffer.from('<Error/>') };
    const [, bucket = '', ...rest] = url.pathname.split('/');
    const name = decodeURIComponent(rest.join('/'));
    if (request.method === 'PUT') {
      this.#store(bucket, { name, contentType: request.headers['content-type'] }, body);
      return { status: 200 };
    }
    const found = this.#buckets.get(bucket)?.get(name);
    return found === undefined ? { status: 404 } : { status: 200, body: found.bytes };
  }

  #get({ request, url, groups: [bucket = '', name = ''] }: Call): Answer {
    const object = this.#buckets.get(bucket)?.get(name);
    const wanted = url.searchParams.get('generation');
    if (object === undefined || (wanted !== null && Number(wanted) !== object.generation)) return NOT_FOUND;
    const failed = failedCondition(url, object);
    if (failed !== undefined) return failed;
    if (url.searchParams.get('alt') !== 'media') return { status: 200, body: resourceOf(object) };
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const headers = { 'content-type': object.contentType ?? 'application/octet-stream' };
    if (range === null) return { status: 200, headers, body: object.bytes };
    const total = object.bytes.byteLength;
    const [first, last] = [Number(range[1]), Math.min(range[2] === '' ? Infinity : Number(range[2]), total - 1)];
    if (first >= total) return refused(416, 'requestedRangeNotSatisfiable', 'Request range not satisfiable');
    const part = { ...headers, 'content-range': `bytes ${first}-${last}/${total}` };
    return { status: 206, headers: part, body: object.bytes.subarray(first, last + 1) };
  }

  #delete({ groups: [bucket = '', name = ''] }: Call): Answer {
    return this.#buckets.get(bucket)?.delete(name) ? { status: 204 } : NOT_FOUND;
  }

  #list({ url, groups: [bucket = ''] }: Call): Answer {
    const prefix = url.searchParams.get('prefix') ?? '';
    const delimiter = url.searchParams.get('delimiter');
    const after = Buffer.from(url.searchParams.get('pageToken') ?? '', 'base64url').toString();
    const most = Math.min(Number(url.searchParams.get('maxResults') ?? 1_000), 1_000);
    const objects = [...(this.#buckets.get(bucket)?.values() ?? [])];
    const entries = new Map<string, Stored | undefined>();
    for (const object of objects.filter(({ name }) => name.startsWith(prefix))) {
      const end = delimiter === null ? -1 : object.name.indexOf(delimiter, prefix.length);
      if (end < 0) entries.set(object.name, object);
      else entries.set(object.name.slice(0, end + (delimiter ?? '').length), undefined);
    }
    const names = [...entries.keys()].sort().filter((name) => name > after);
    const page = names.slice(0, most);
    const items = page.flatMap((name) => entries.get(name) ?? []).map(resourceOf);
    const prefixes = page.filter((name) => entries.get(name) === undefined);
    const nextPageToken = names.length > most ? Buffer.from(page.at(-1) ?? '').toString('base64url') : undefined;
    return { status: 200, body: { kind: 'storage#objects', items, prefixes, nextPageToken } };
  }

  #rewrite({ url, groups: [bucket = '', name = '', target = '', as = ''] }: Call): Answer {
    const object = this.#buckets.get(bucket)?.get(name);
    if (object === undefined || !this.#buckets.has(target)) return NOT_FOUND;
    const token = url.searchParams.get('rewriteToken') ?? randomUUID();
    const done = (this.#rewrites.get(token) ?? 0) + REWRITE_BYTES;
    this.#rewrites.set(token, done);
    if (done < object.bytes.byteLength) return { status: 200, body: { done: false, rewriteToken: token } };
    const resource = resourceOf(this.#store(target, { ...object, name: as }, object.bytes));
    return { status: 200, body: { done: true, resource } };
  }

  #upload(call: Call): Answer {
    const {
      request,
      url,
      body,
      groups: [bucket = ''],
    } = call;
    if (url.searchParams.get('uploadType') === 'resumable') {
      const session = randomUUID();
      this.#uploads.set(session, { bucket, described: JSON.parse(body.toString()) as Described, call, bytes: [] });
      return { status: 200, headers: { location: `${this.endpoint}/upload/session/${session}` } };
    }
    const boundary = /boundary=(.+)$/.exec(request.headers['content-type'] ?? '')?.[1] ?? '';
    const parts = body.toString('latin1').split(`--${boundary}`);
    const [json, media] = parts.slice(1, 3).map((part) => part.slice(part.indexOf('\r\n\r\n') + 4, -2));
    const described = JSON.parse(Buffer.from(json ?? '', 'latin1').toString()) as Described;
    return this.#finish(call, bucket, described, Buffer.from(media ?? '', 'latin1'));
  }

  #resume(session: string, { request, body }: Call): Answer {
    const upload = this.#uploads.get(session);
    if (upload === undefined) return NOT_FOUND;
    // `*`: the length is not known yet.
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(request.headers['content-range'] ?? '');
    const have = upload.bytes.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const [first, last, total] = (range ?? []).slice(1).map((text) => (text === '*' ? Infinity : Number(text)));
    if (first !== have || last !== have + body.byteLength - 1 || total === undefined)
      return refused(400, 'badRequest', 'Invalid range');
    const end = have + body.byteLength;
    if (end < total && body.byteLength % CHUNK_BYTES !== 0) return refused(400, 'badRequest', 'Invalid chunk size');
    upload.bytes.push(body);
    if (end < total) return { status: 308, headers: { range: `bytes=0-${end - 1}` } };
    this.#uploads.delete(session);
    return this.#finish(upload.call, upload.bucket, upload.described, Buffer.concat(upload.bytes));
  }

  #finish({ url }: Call, bucket: string, described: Described, bytes: Buffer): Answer {
    const failed = failedCondition(url, this.#buckets.get(bucket)?.get(described.name));
    return failed ?? { status: 200, body: resourceOf(this.#store(bucket, described, bytes)) };
  }

  #store(bucket: string, { name, contentType, metadata }: Described, bytes: Buffer): Stored {
    const updated = new Date().toISOString();
    const object = { name, contentType, metadata, updated, bytes, generation: (this.#generation += 1) };
    this.#buckets.get(bucket)?.set(name, object);
    return object;
  }
}

type Described = Pick<Stored, 'name'> & Partial<Pick<Stored, 'contentType' | 'metadata'>>;

function failedCondition(url: URL, object: Stored | undefined): Answer | undefined {
  const current = String(object?.generation ?? 0);
  const match = url.searchParams.get('ifGenerationMatch');
  if (match !== null && match !== current) return PRECONDITION;
  return url.searchParams.get('ifGenerationNotMatch') === current ? { status: 304 } : undefined;
}

const resourceOf = ({ bytes, generation, ...object }: Stored) => ({
  kind: 'storage#object',
  ...object,
  generation: String(generation),
  size: String(bytes.byteLength),
});
