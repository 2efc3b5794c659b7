/** Git's smart protocol over the guarded `fetch`, in the shape that isomorphic-git asks for. */

import type { GitHttpRequest, GitHttpResponse, HttpClient } from 'isomorphic-git';
import { joinChunks, readChunks } from '../../core/bytes.ts';
import { fail, fault, FaultError, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { interrupted } from '../http/request.ts';
import { refusal, type Wire } from '../kit/exchange.ts';

export interface GitRemote {
  /** Of the repository, as `git clone` takes it. */
  readonly url: string;
  /** The whole header; undefined for what is public. */
  readonly authorization?: string | undefined;
}

/** Some servers tell Git from a browser by it. */
const AGENT = 'git/2 (tidegate)';

/** The library never sees the credential, so it is in no error of its own. Whatever is wrong is thrown as a FaultError. */
export const createTransport = (remote: GitRemote, wire: Wire): HttpClient => ({
  async request({ url, method = 'GET', headers = {}, body }): Promise<GitHttpResponse> {
    const sent = body === undefined ? undefined : await collect(body);
    const reply = await exchangeWhole(wire, {
      url,
      method,
      headers: {
        ...headers,
        'user-agent': AGENT,
        ...(remote.authorization !== undefined && { authorization: remote.authorization }),
      },
      body: sent,
    });
    if (!reply.ok) throw new FaultError(reply.fault);
    const { status, statusText, headers: received, bytes } = reply.value;
    return {
      url,
      method,
      statusCode: status,
      statusMessage: statusText,
      headers: Object.fromEntries(received),
      body: once(bytes),
    };
  },
});

interface Whole {
  readonly status: number;
  readonly statusText: string;
  readonly headers: Headers;
  readonly bytes: Uint8Array;
}

async function exchangeWhole(
  wire: Wire,
  { url, method, headers, body }: Pick<GitHttpRequest, 'url' | 'method' | 'headers'> & { body: Uint8Array | undefined },
): Promise<Result<Whole>> {
  // By its bare name: as a member, it would be called on what it is a member of.
  const { fetch } = wire;
  try {
    const init = { method, headers, redirect: 'manual', ...(body !== undefined && { body }) } as RequestInit;
    const response = await fetch(url, { ...init, ...(wire.signal !== undefined && { signal: wire.signal }) });
    const { status, statusText, headers: received } = response;
    const bytes = await readChunks(response.body, LIMITS.gitFetchBytes);
    if (bytes === undefined) {
      return fail('upstream.too-large', `The Git server sent more than ${LIMITS.gitFetchBytes} bytes.`);
    }
    if (status === 200) return ok({ status, statusText, headers: received, bytes });
    if (status === 404) return { ok: false, fault: NO_REPOSITORY };
    // The page that comes with a refusal says nothing to the author of a chain.
    return {
      ok: false,
      fault: refusal('The Git server', { status, headers: received, bytes }, wire.now(), undefined, {}),
    };
  } catch (thrown) {
    if (thrown instanceof FaultError) return { ok: false, fault: thrown.fault };
    return interrupted(thrown, wire.signal, 'The Git server');
  }
}

const NO_REPOSITORY = fault(
  'upstream.rejected',
  'There is no such repository, or the credentials of the connection may not see it.',
  { data: { status: 404 } },
);

async function collect(body: NonNullable<GitHttpRequest['body']>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return joinChunks(chunks);
}

async function* once(bytes: Uint8Array): AsyncIterableIterator<Uint8Array> {
  yield bytes;
}
