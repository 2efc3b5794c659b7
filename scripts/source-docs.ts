/** `docs/sources.md`: the table of signature schemes, for whoever connects a vendor. */

import type { GenericSchema } from 'valibot';
import { LIMITS } from '../src/core/limits.ts';
import { methodsOf } from '../src/core/webhook/index.ts';
import type { Answer, DeliveryId, Handshake, Place, Scheme } from '../src/core/webhook/scheme.ts';
import { SCHEMES } from '../src/core/webhook/vendors/index.ts';

const code = (text: string): string => `\`${text}\``;
const list = (texts: readonly string[]): string => texts.map(code).join(', ');

function placeText(place: Place): string {
  if ('headers' in place) return list(place.headers);
  return 'query' in place ? `${code(place.query)} in the query` : `${code(place.member)} in the body`;
}

function proofText(scheme: Scheme): string {
  if (scheme.proof === 'token') return `the secret in ${placeText(scheme.token)}`;
  if (scheme.proof === 'jwt') {
    const hash =
      scheme.bodyHashClaim === undefined ? '' : `, with the hash of the body in ${code(scheme.bodyHashClaim)}`;
    return `${scheme.algorithms.join(' or ')} token in ${placeText(scheme.token)}${hash}`;
  }
  const algorithms = [...new Set(scheme.keys.map(({ algorithm, encoding }) => `${algorithm}, ${encoding}`))].join('; ');
  const [content = ''] = [scheme.content].flat();
  return `${placeText(scheme.signature)}: ${algorithms} over ${code(content)}`;
}

function windowText(scheme: Scheme): string {
  if (scheme.proof === 'token') return '';
  if (scheme.proof === 'jwt') return scheme.maximumAgeSeconds === undefined ? '`exp`' : `${scheme.maximumAgeSeconds} s`;
  return scheme.timestamp?.toleranceSeconds === undefined ? '' : `${scheme.timestamp.toleranceSeconds} s`;
}

const IDS: Readonly<Record<DeliveryId['from'], (id: DeliveryId, scheme: Scheme) => string>> = {
  header: (_, scheme) => (scheme.proof === 'signature' ? code(scheme.idHeaders?.[0] ?? '') : ''),
  content: () => 'hash of what is signed',
  body: (id) => ('paths' in id && id.paths.length > 0 ? list(id.paths) : 'hash of the body'),
  members: (id) => ('paths' in id ? `hash of ${list(id.paths)}` : ''),
  headers: (id) => ('names' in id ? list(id.names) : ''),
  arrival: () => 'each arrival',
};

const ANSWERS: Readonly<Record<Answer['kind'], string>> = {
  fixed: 'answered',
  echo: 'challenge sent back',
  adopt: 'secret taken over',
  sign: 'challenge signed',
  visit: 'confirmation visited',
};

function handshakeText({ methods, answer, trust }: Handshake): string {
  const proven = trust === 'proof' ? ' when proven' : typeof trust === 'object' ? ' for the verify token' : '';
  return `${methods === undefined ? '' : `${methods.join(', ')}: `}${ANSWERS[answer.kind]}${proven}`;
}

/** @param table the fields of a schema as a table */
export function sourcesDocument(table: (schema: GenericSchema) => string): string {
  const rows: string[] = [];
  const settings: string[] = [];
  for (const [name, row] of SCHEMES) {
    const made = row.schemeFor(row.example);
    if (!made.ok) throw new Error(`The example of ${name} does not fit: ${made.fault.message}`);
    const scheme = made.value;
    const title = row.settings === undefined ? row.title : `[${row.title}](#${name})`;
    const { deliveryId, handshakes = [] } = scheme;
    rows.push(
      `| ${[
        code(name),
        title,
        scheme.secretIs,
        proofText(scheme),
        windowText(scheme),
        IDS[deliveryId.from](deliveryId, scheme),
        handshakes.map(handshakeText).join('; '),
      ]
        .map((text) => text.replaceAll('|', '\\|'))
        .join(' | ')} |`,
    );
    if (row.settings === undefined) continue;
    const methods = methodsOf(scheme).join(', ');
    settings.push(
      `### \`${name}\`\n\n${row.title}, by ${methods}.\n\n${table(row.settings)}\n\`\`\`json\n${JSON.stringify({ scheme: name, settings: row.example })}\n\`\`\`\n`,
    );
  }
  return `# Webhook sources

Generated from the tables in \`src/core/webhook/vendors/\` by \`npm run docs\`. How verification works and what it does not promise: [design/webhooks.md](design/webhooks.md).

A source says who may send to \`/hooks/<name>\` and how that is proven:

\`\`\`sh
curl -X PUT $API/sources/shop -H "$ADMIN" -H "$JSON" -d '{ "scheme": "stripe", "secret": "whsec_…" }'
\`\`\`

- **Secret.** Give it as the vendor shows it. Several (\`"secret": ["new", "old"]\`, at most ${LIMITS.sourceSecrets}) are all accepted while the vendor rotates. A source of \`asana\` or \`notion\` may be saved without one: it then takes the vendor's handshake, keeps the secret that comes with it, and is closed for everything else until then. Set such a source up and start the subscription at once, since the first handshake counts. Where the table says "none", the vendor signs with keys that it publishes and the source takes no secret; their settings say for whom the signature has to be.
- **URL.** Some vendors sign the URL that you gave them. It has to be the one that the gateway knows: set \`TIDEGATE_URL\` where it is not reached by the host name that it sees itself.
- **Handshakes** are answered by the source and start no run.
- **Window** is the age, or future, of a signed time that is accepted. Without one, only the delivery id stops a replay.
- **Delivery id** is what makes the second arrival of a delivery a duplicate.

## Schemes

| scheme | sender | secret | proof | window | delivery id | handshake |
| --- | --- | --- | --- | --- | --- | --- |
${rows.join('\n')}

## Settings

${settings.join('\n')}`;
}
