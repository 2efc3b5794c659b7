/** match → key → validate → map → one upstream GET → map → JSON, against the same by hand. */

import { compare, startSides } from './support/sides.ts';
import { call } from '../scripts/launcher/api.ts';

const chain = (upstream: string): unknown => ({
  name: 'bench-inline',
  triggers: { api: { type: 'http', method: 'POST', path: '/bench/orders/{id}', auth: 'key' } },
  input: {
    type: 'object',
    required: ['id', 'customer', 'items'],
    properties: {
      id: { type: 'string' },
      customer: { type: 'string', minLength: 1 },
      items: {
        type: 'array',
        minItems: 1,
        items: {
          type: 'object',
          required: ['sku', 'quantity'],
          properties: { sku: { type: 'string' }, quantity: { type: 'integer' } },
        },
      },
    },
  },
  steps: {
    order: {
      use: 'data.map',
      with: {
        sku: '{{ input.items[0].sku }}',
        quantity: '{{ input.items[0].quantity }}',
        customer: '{{ input.customer }}',
      },
    },
    stock: { use: 'http.get', with: { url: `${upstream}/stock?sku={{ steps.order.sku }}` } },
  },
  output: {
    id: '{{ input.id }}',
    customer: '{{ steps.order.customer }}',
    available: '{{ steps.stock.body.stock >= steps.order.quantity }}',
    total: '{{ steps.stock.body.price * steps.order.quantity }}',
  },
});

export async function inline(): Promise<void> {
  const sides = await startSides();
  try {
    await call(sides.gateway, 'PUT', '/chains/bench-inline', chain(sides.upstream));
    const request = {
      method: 'POST',
      headers: { authorization: `Bearer ${sides.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ customer: 'Ada', items: [{ sku: 'A1', quantity: 2 }] }),
    };
    const path = '/bench/orders/42';
    const answers = await Promise.all(
      [sides.gateway.url, sides.handWritten.url].map(async (url) => (await fetch(url + path, request)).text()),
    );
    if (answers[0] !== answers[1]) throw new Error(`The sides differ: ${answers.join(' | ')}`);
    await compare([
      { name: 'inline', pid: sides.gateway.worker.pid(), request: { ...request, url: sides.gateway.url + path } },
      {
        name: 'hand-written',
        pid: sides.handWritten.pid(),
        request: { ...request, url: sides.handWritten.url + path },
      },
    ]);
  } finally {
    await sides.stop();
  }
}
