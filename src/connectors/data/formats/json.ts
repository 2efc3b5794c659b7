/** JSON, and NDJSON: one JSON value a line. */

import { malformed, textOf, tooLarge, type Format } from './content.ts';
import { parseJson } from '../../../core/data/exact-json.ts';
import { LIMITS } from '../../../core/limits.ts';

function parse(text: string, format: string, where: string): unknown {
  const parsed = parseJson(text);
  return parsed.ok ? parsed.value : malformed(format, `${where}${parsed.fault.message}`);
}

const written = (value: unknown): string => JSON.stringify(value) ?? 'null';

export const json: Format = {
  read: (content, options) => parse(textOf(content, 'JSON', options), 'JSON', ''),
  write: written,
};

export const ndjson: Format = {
  read(content, options) {
    const lines = textOf(content, 'NDJSON', options).split('\n');
    if (lines.length > LIMITS.dataItems) tooLarge(`More than ${LIMITS.dataItems} lines.`);
    return lines.flatMap((line, index) => (line.trim() === '' ? [] : [parse(line, 'NDJSON', `line ${index + 1}: `)]));
  },
  write(content) {
    if (!Array.isArray(content)) return malformed('a list', 'NDJSON is made of one.');
    return content.map((item) => `${written(item)}\n`).join('');
  },
};
