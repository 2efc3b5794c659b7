/** An R2 bucket that is bound to the Worker: no credentials, and no traffic through the internet. */

import { fail, ok, type Result } from '../../core/errors.ts';
import {
  keyFault,
  transfer,
  type Conditions,
  type ObjectFacts,
  type ObjectName,
  type ObjectStore,
  type Parts,
  type PutOptions,
  type Written,
} from '../kit/objects.ts';

export function createR2Store(bucket: R2Bucket, reading: { readonly signal?: AbortSignal | undefined }): ObjectStore {
  const store: ObjectStore = {
    get: ({ bucket: given, key }, { range, ...conditions } = {}) =>
      attempt({ bucket: given, key }, async () => {
        const object = await bucket.get(key, { ...rangeOf(range), onlyIf: conditionsOf(conditions) });
        if (object === null) return notThere;
        // Without a body a condition did not hold.
        if (!('body' in object)) return conditions.ifMatch === undefined ? ok(undefined) : unmet;
        const streamBytes =
          range === undefined ? object.size : Math.min(range.last ?? Infinity, object.size - 1) - range.first + 1;
        return ok({ ...factsOf(object), stream: object.body, streamBytes });
      }),
    head: (name) =>
      attempt(name, async () => {
        const object = await bucket.head(name.key);
        return ok(object === null ? undefined : factsOf(object));
      }),
    put: (name, bytes, options = {}) =>
      attempt(name, async () => {
        const object: R2Object | null = await bucket.put(name.key, bytes, {
          ...putOptions(options),
          onlyIf: conditionsOf(options),
        });
        return object === null ? unmet : ok({ etag: object.etag });
      }),
    putParts: (name, parts, options = {}) => attempt(name, () => upload(bucket, name.key, parts, options)),
    delete: (name) =>
      attempt(name, async () => {
        await bucket.delete(name.key);
        return ok(undefined);
      }),
    list: ({ bucket: given, prefix, delimiter, limit, cursor }) =>
      attempt({ bucket: given, key: 'list' }, async () => {
        const page = await bucket.list({
          ...(prefix !== undefined && { prefix }),
          ...(delimiter !== undefined && { delimiter }),
          ...(limit !== undefined && { limit }),
          ...(cursor !== undefined && { cursor }),
        });
        const objects = page.objects.map((object) => {
          const { sizeBytes, etag, lastModified } = factsOf(object);
          return { key: object.key, sizeBytes, etag, lastModified };
        });
        return ok({ objects, prefixes: page.delimitedPrefixes, cursor: page.truncated ? page.cursor : undefined });
      }),
    async copy(from, to) {
      const source = await store.get(from);
      if (!source.ok) return source;
      if (source.value === undefined) return notThere;
      const { contentType, metadata } = source.value;
      return transfer(source.value, store, to, { contentType, metadata }, reading);
    },
    presign: () => Promise.resolve(fail('step.params', 'A bound bucket has no links; reach it by an `s3` connection.')),
  };
  return store;
}

const notThere = fail('upstream.rejected', 'R2 has no such object.', { data: { status: 404, code: 'NoSuchKey' } });
const unmet = fail('upstream.rejected', 'R2: The condition does not hold.', {
  data: { status: 412, code: 'PreconditionFailed' },
});

/** R2 says what is the caller's fault with a number in parentheses; anything else may pass. */
const REFUSED = /\((\d{5})\)\s*$/;
const RANGE_OUTSIDE = 10_039;

async function attempt<T>({ bucket, key }: ObjectName, run: () => Promise<Result<T>>): Promise<Result<T>> {
  if (bucket !== undefined) return fail('step.params', '`bucket`: R2 is bound as one bucket; leave it out.');
  const refused = keyFault(key);
  if (refused !== undefined) return refused;
  try {
    return await run();
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    const code = REFUSED.exec(message)?.[1];
    if (code === undefined) return fail('upstream.unavailable', 'R2 did not answer.', { detail: thrown });
    const status = Number(code) === RANGE_OUTSIDE ? 416 : 400;
    return fail('upstream.rejected', `R2: ${message}`, { data: { status, code } });
  }
}

async function upload(bucket: R2Bucket, key: string, parts: Parts, options: PutOptions): Promise<Result<Written>> {
  if (options.ifMatch !== undefined || options.ifNoneMatch !== undefined) {
    return fail('step.params', 'R2 takes no condition for an object in parts.');
  }
  const started = await bucket.createMultipartUpload(key, putOptions(options));
  const sent: R2UploadedPart[] = [];
  try {
    for (let number = 1; ; number++) {
      const part = await parts.next();
      if (!part.ok) {
        await started.abort();
        return part;
      }
      if (part.value === undefined) break;
      sent.push(await started.uploadPart(number, part.value));
    }
    return ok({ etag: (await started.complete(sent)).etag });
  } catch (thrown) {
    // Best effort: R2 itself gives it up after a week.
    await started.abort().catch(() => undefined);
    throw thrown;
  }
}

const rangeOf = (range: { readonly first: number; readonly last?: number | undefined } | undefined): R2GetOptions => {
  if (range === undefined) return {};
  const { first, last } = range;
  return { range: last === undefined ? { offset: first } : { offset: first, length: last - first + 1 } };
};

const conditionsOf = ({ ifMatch, ifNoneMatch }: Conditions): R2Conditional => ({
  ...(ifMatch !== undefined && { etagMatches: ifMatch }),
  ...(ifNoneMatch !== undefined && { etagDoesNotMatch: ifNoneMatch }),
});

const putOptions = ({ contentType, metadata }: PutOptions): R2MultipartOptions => ({
  ...(contentType !== undefined && { httpMetadata: { contentType } }),
  ...(metadata !== undefined && { customMetadata: { ...metadata } }),
});

const factsOf = ({ size, etag, uploaded, httpMetadata, customMetadata }: R2Object): ObjectFacts => ({
  contentType: httpMetadata?.contentType,
  sizeBytes: size,
  etag,
  lastModified: uploaded.toISOString(),
  metadata: customMetadata ?? {},
});
