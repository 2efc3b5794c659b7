/** The same inline chain, open to anybody, for an API key, and for a token (RS256) that comes again. */

import { generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { compare, startSides, type Side } from './support/sides.ts';
import { call } from '../scripts/launcher/api.ts';
import { listen } from '../scripts/servers/process.ts';

const AUDIENCE = 'https://api.example';

const segment = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

export async function auth(): Promise<void> {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const keys = [{ ...publicKey.export({ format: 'jwk' }), kid: 'bench', alg: 'RS256', use: 'sig' }];
  const jwks = createServer((_request, response) => response.end(JSON.stringify({ keys })));
  const { port, stop } = await listen(jwks);
  const issuer = `http://127.0.0.1:${port}`;
  const signed = `${segment({ alg: 'RS256', kid: 'bench' })}.${segment({
    iss: issuer,
    aud: AUDIENCE,
    sub: 'bench',
    exp: Math.floor(Date.now() / 1000) + 3_600,
  })}`;
  const token = `${signed}.${signBytes('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
  const sides = await startSides();
  try {
    const rules: Readonly<Record<string, readonly [auth: unknown, credential: string | undefined]>> = {
      key: ['key', sides.key],
      jwt: [{ type: 'jwt', issuer, audience: AUDIENCE, jwksUrl: `${issuer}/jwks` }, token],
      public: ['public', undefined],
    };
    const made: Side[] = [];
    for (const [name, [rule, credential]] of Object.entries(rules)) {
      const path = `/bench/auth/${name}`;
      await call(sides.gateway, 'PUT', `/chains/bench-auth-${name}`, {
        name: `bench-auth-${name}`,
        triggers: { api: { type: 'http', method: 'GET', path, auth: rule } },
        steps: {},
        output: { answered: true },
      });
      const headers = credential === undefined ? {} : { authorization: `Bearer ${credential}` };
      const request = { method: 'GET', url: sides.gateway.url + path, headers };
      const answer = await fetch(request.url, request);
      if (answer.status !== 200) throw new Error(`${name} answered ${answer.status}: ${await answer.text()}`);
      made.push({ name, pid: sides.gateway.worker.pid(), request });
    }
    const [key, jwt, open] = made;
    if (key === undefined || jwt === undefined || open === undefined) throw new Error('A side is missing.');
    await compare([key, open]);
    await compare([jwt, open]);
  } finally {
    await sides.stop();
    await stop();
  }
}
