/** The operations as `llms.txt`: a short text by which a language model finds its way. https://llmstxt.org */

import type { Portal } from './openapi.ts';
import type { Operation } from './operations.ts';

export function llmsText(operations: readonly Operation[], { title, origin }: Portal): string {
  const groups = Map.groupBy(operations, ({ docs }) => docs.tags?.[0] ?? 'Operations');
  return [
    `# ${plain(title)}`,
    '',
    `> The API at ${origin}. Its whole description is ${origin}/_/docs/openapi.json (OpenAPI 3.1).`,
    '',
    'Send an API key as `Authorization: Bearer <key>` where an operation needs one. Errors are JSON problems (RFC 9457); decide by `code`.',
    ...[...groups].flatMap(([group, members]) => ['', `## ${plain(group)}`, '', ...members.map(lineOf)]),
    '',
  ].join('\n');
}

function lineOf({ method, path, docs, policies, deprecated }: Operation): string {
  const facts = [
    policies.auth.mode === 'public' ? 'open to anybody' : 'needs a credential',
    ...(deprecated ? ['deprecated'] : []),
  ];
  const summary = docs.summary === undefined ? '' : ` ${plain(docs.summary)}`;
  return `- \`${method} ${path.replace('*}', '}')}\`:${summary} (${facts.join(', ')})`;
}

/** On one line: what an author wrote must not begin a heading of its own. */
const plain = (text: string): string => text.replaceAll(/\s+/g, ' ').trim();
