/** Applications with endpoints at the real upstream of the test run, called through the management API. */

import { createHmac, createPublicKey, verify } from 'node:crypto';
import { Buffer } from 'node:buffer';
import { expect, vi } from 'vitest';
import { manage, upstream, type Called } from '../gateway/fixtures.ts';

export interface Receipt {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly at: number;
}

let count = 0;

/** A path of the upstream that no other test calls. */
export const pathOf = (behaviour: string): string => `/${behaviour}?test=${++count}-${crypto.randomUUID()}`;

export async function receiptsAt(path: string): Promise<readonly Receipt[]> {
  const reply = await fetch(`${upstream}/receipts?path=${encodeURIComponent(path)}`);
  return reply.json();
}

/** Resolves when that many requests have come to the path. */
export function received(path: string, times: number): Promise<readonly Receipt[]> {
  return vi.waitFor(
    async () => {
      const receipts = await receiptsAt(path);
      expect(receipts).toHaveLength(times);
      return receipts;
    },
    { timeout: 15_000, interval: 25 },
  );
}

const idOf = ({ body }: Called): string => String(body['id']);

export interface Application {
  readonly id: string;
  readonly eventType: string;
  /** An endpoint at that path of the upstream. */
  endpoint(path: string, settings?: Readonly<Record<string, unknown>>): Promise<Endpoint>;
  send(payload: unknown, more?: Readonly<Record<string, unknown>>): Promise<Called>;
  /** Sends and returns the id of the message. */
  sent(payload: unknown, more?: Readonly<Record<string, unknown>>): Promise<string>;
  call(route: string, body?: unknown): Promise<Called>;
}

export interface Endpoint {
  readonly id: string;
  /** `POST /rotate` and so on, relative to the endpoint. */
  call(route: string, body?: unknown): Promise<Called>;
  deliveries(query?: string): Promise<readonly Delivery[]>;
  /** The delivery of a message as soon as it is so. */
  delivery(message: string, expected: Readonly<Record<string, unknown>>): Promise<Delivery>;
}

export interface Delivery {
  readonly message: string;
  readonly status: string;
  readonly nextAttemptAt: string | null;
  readonly attempts: readonly {
    readonly status: number | null;
    readonly error: string | null;
    readonly body: string;
  }[];
}

/** With an event type of its own that takes any payload. */
export async function application(uid?: string): Promise<Application> {
  const eventType = `test.event${++count}`;
  expect((await manage(`PUT /event-types/${eventType}`, {})).status).toBe(201);
  const made = await manage('POST /applications', { name: 'Customer', ...(uid !== undefined && { uid }) });
  expect(made.status).toBe(201);
  const id = idOf(made);
  const call = (route: string, body?: unknown): Promise<Called> =>
    manage(route.replace(' ', ` /applications/${id}`), body);
  const send: Application['send'] = (payload, more) => call('POST /messages', { eventType, payload, ...more });
  return {
    id,
    eventType,
    call,
    send,
    async sent(payload, more) {
      const sent = await send(payload, more);
      expect(sent, sent.text).toMatchObject({ status: 202 });
      return idOf(sent);
    },
    async endpoint(path, settings) {
      const added = await call('POST /endpoints', { url: upstream + path, ...settings });
      expect(added, added.text).toMatchObject({ status: 201 });
      return endpointOf(idOf(added), call);
    },
  };
}

function endpointOf(id: string, callApplication: Application['call']): Endpoint {
  const call: Endpoint['call'] = (route, body) => callApplication(route.replace(' ', ` /endpoints/${id}`), body);
  const deliveries: Endpoint['deliveries'] = async (query = '') => {
    const listed = await call(`GET /deliveries${query}`);
    expect(listed.status, listed.text).toBe(200);
    return listed.body['items'] as readonly Delivery[];
  };
  return {
    id,
    call,
    deliveries,
    delivery: (message, expected) =>
      vi.waitFor(
        async () => {
          const found = (await deliveries()).find((delivery) => delivery.message === message);
          expect(found).toMatchObject(expected);
          if (found === undefined) throw new Error('no delivery');
          return found;
        },
        { timeout: 15_000, interval: 25 },
      ),
  };
}

/** The keys that the receiver of an endpoint verifies with, the newest first. */
export async function keysOf(endpoint: Endpoint): Promise<readonly string[]> {
  const { body } = await endpoint.call('GET /key');
  return (body['keys'] as readonly { readonly key: string }[]).map(({ key }) => key);
}

/** Standard Webhooks as its specification says it, by the cryptography of Node: whether a key signed a request. */
export function isSignedBy(
  key: string,
  { headers, body }: Receipt,
  names = ['webhook-id', 'webhook-timestamp', 'webhook-signature'],
): boolean {
  const [id = '', timestamp = '', signatures = ''] = names.map((name) => headers[name] ?? '');
  const content = `${id}.${timestamp}.${body}`;
  const bytes = Buffer.from(key.slice(key.indexOf('_') + 1), 'base64');
  return signatures.split(' ').some((entry) => {
    const [version, signature = ''] = entry.split(',');
    if (key.startsWith('whsec_')) {
      return version === 'v1' && createHmac('sha256', bytes).update(content).digest('base64') === signature;
    }
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: bytes.toString('base64url') };
    const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
    return version === 'v1a' && verify(null, Buffer.from(content), publicKey, Buffer.from(signature, 'base64'));
  });
}
