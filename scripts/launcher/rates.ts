/** The upstream of the sample `price`: exchange rates, `GET /rates/EUR`, on loopback only. */

import { createServer } from 'node:http';
import { listen, type Running } from '../servers/process.ts';

const RATES = { USD: 1.08, GBP: 0.85, JPY: 163.2 };

export async function startRates(): Promise<Running & { readonly host: string }> {
  const server = createServer((request, response) => {
    const known = request.url === '/rates/EUR';
    response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(known ? RATES : { error: 'only /rates/EUR is known' }));
  });
  const { port, stop } = await listen(server);
  return { host: `127.0.0.1:${port}`, stop };
}
