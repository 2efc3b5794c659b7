/** Azure Blob Storage over its REST interface: block blobs in containers. */

import { Buffer } from 'node:buffer';
import { fail, ok, type Fault, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { bodyOf, exchange, openExchange, refusal, textOf, type Incoming, type Wire } from '../kit/exchange.ts';
import {
  conditionHeaders,
  etagOf,
  factsOf,
  instantOf,
  rangeHeaders,
  type Listing,
  type ObjectName,
  type ObjectStore,
  type Parts,
  type PutOptions,
  type Written,
} from '../kit/objects.ts';
import { element, elements, escapeXml } from '../kit/xml.ts';
import { addressOf, authorized, presign, withSas, type AzureConnection, type AzureRequest } from './sign.ts';

const METADATA = 'x-ms-meta-';

export function createAzureBlobStore(connection: AzureConnection, wire: Wire): ObjectStore {
  const accepted = <T extends Incoming>(reply: Result<T>): Result<T> => {
    if (!reply.ok) return reply;
    const { status } = reply.value;
    return status >= 200 && status < 300 ? reply : { ok: false, fault: azureFault(reply.value, wire.now()) };
  };
  const send = async (request: AzureRequest): Promise<Result<Incoming>> => {
    const outgoing = await authorized(connection, request, wire.now());
    return outgoing.ok ? accepted(await exchange(wire, outgoing.value)) : outgoing;
  };

  return {
    async get(name, { range, ...conditions } = {}) {
      const headers = { ...rangeHeaders(range), ...conditionHeaders(conditions), 'accept-encoding': 'identity' };
      const outgoing = await authorized(connection, { method: 'GET', ...name, headers }, wire.now());
      if (!outgoing.ok) return outgoing;
      const reply = accepted(await openExchange(wire, outgoing.value));
      if (!reply.ok) return statusOf(reply.fault) === 304 ? ok(undefined) : reply;
      return ok({ ...factsOf(reply.value.headers, METADATA), ...bodyOf(reply.value) });
    },
    async head(name) {
      const reply = await send({ method: 'HEAD', ...name });
      if (reply.ok) return ok(factsOf(reply.value.headers, METADATA));
      return statusOf(reply.fault) === 404 ? ok(undefined) : reply;
    },
    async put(name, body, options) {
      const headers = { 'x-ms-blob-type': 'BlockBlob', ...putHeaders(options) };
      return written(await send({ method: 'PUT', ...name, headers, body }));
    },
    putParts: (name, parts, options) => putBlocks(send, name, parts, options),
    async delete(name) {
      const reply = await send({ method: 'DELETE', ...name, headers: { 'x-ms-delete-snapshots': 'include' } });
      return reply.ok || statusOf(reply.fault) === 404 ? ok(undefined) : reply;
    },
    async list({ bucket, prefix, delimiter, limit, cursor }) {
      const query = {
        restype: 'container',
        comp: 'list',
        ...(prefix !== undefined && { prefix }),
        ...(delimiter !== undefined && { delimiter }),
        // Left to itself it gives 5,000; the other stores give 1,000.
        maxresults: String(limit ?? 1_000),
        ...(cursor !== undefined && { marker: cursor }),
      };
      const reply = await send({ method: 'GET', bucket, query });
      return reply.ok ? listingOf(textOf(reply.value.bytes)) : reply;
    },
    async copy(from, to) {
      const source = addressOf(connection, from);
      if (!source.ok) return source;
      const headers = { 'x-ms-copy-source': withSas(source.value, connection).href };
      const reply = await send({ method: 'PUT', ...to, headers, body: new Uint8Array() });
      if (!reply.ok || reply.value.headers.get('x-ms-copy-status') === 'success') return written(reply);
      // Within an account Azure copies at once; what it only began may still fail, and is asked for again.
      return fail('upstream.unavailable', 'Azure has begun the copy, but not finished it.');
    },
    presign: (name, options) => presign(connection, name, options, wire.now()),
  };
}

const written = (reply: Result<Incoming>): Result<Written> =>
  reply.ok ? ok({ etag: etagOf(reply.value.headers.get('etag')) }) : reply;

/** Blocks that are never listed are forgotten by Azure itself, after a week. */
async function putBlocks(
  send: (request: AzureRequest) => Promise<Result<Incoming>>,
  name: ObjectName,
  parts: Parts,
  options: PutOptions | undefined,
): Promise<Result<Written>> {
  const upload = crypto.randomUUID();
  const ids: string[] = [];
  for (;;) {
    const part = await parts.next();
    if (!part.ok) return part;
    if (part.value === undefined) break;
    // All ids of a blob have the same length. Those of another upload to it must not be listed by this one.
    const blockid = Buffer.from(`${upload}-${String(ids.length).padStart(6, '0')}`).toString('base64');
    const sent = await send({ method: 'PUT', ...name, query: { comp: 'block', blockid }, body: part.value });
    if (!sent.ok) return sent;
    ids.push(blockid);
  }
  const list = ids.map((id) => `<Latest>${escapeXml(id)}</Latest>`).join('');
  const body = Buffer.from(`<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`);
  return written(
    await send({ method: 'PUT', ...name, query: { comp: 'blocklist' }, headers: putHeaders(options), body }),
  );
}

function putHeaders({ contentType, metadata = {}, ...conditions }: PutOptions = {}): Record<string, string> {
  // Names of metadata are those of C#: a hyphen is refused.
  const named = Object.entries(metadata).map(([name, value]) => [METADATA + name.replaceAll('-', '_'), value]);
  return {
    ...(contentType !== undefined && { 'x-ms-blob-content-type': contentType }),
    ...Object.fromEntries(named),
    ...conditionHeaders(conditions),
  };
}

/** The body is not handed on: for a wrong signature it repeats what was signed. */
function azureFault(reply: Incoming, now: number): Fault {
  const code = reply.headers.get('x-ms-error-code') ?? element(textOf(reply.bytes), 'Code');
  const status = code === 'ServerBusy' ? 429 : reply.status;
  return refusal('Azure', { ...reply, status }, now, code, { code });
}

const statusOf = ({ data }: Fault): unknown => (isObject(data) ? data['status'] : undefined);

function listingOf(xml: string): Result<Listing> {
  if (!xml.includes('<EnumerationResults')) return fail('upstream.invalid', 'Azure sent no list; check `endpoint`.');
  const named = (item: string): string => {
    const name = element(item, 'Name') ?? '';
    return /<Name Encoded="true"/i.test(item) ? decodeURIComponent(name) : name;
  };
  try {
    return ok({
      objects: elements(xml, 'Blob').map((item) => ({
        key: named(item),
        sizeBytes: Number(element(item, 'Content-Length') ?? 0),
        etag: etagOf(element(item, 'Etag')),
        lastModified: instantOf(element(item, 'Last-Modified')),
      })),
      prefixes: elements(xml, 'BlobPrefix').map(named),
      cursor: element(xml, 'NextMarker') || undefined,
    });
  } catch {
    return fail('upstream.invalid', 'Azure sent a list with keys that cannot be decoded.');
  }
}
