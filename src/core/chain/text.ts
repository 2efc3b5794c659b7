/**
 * Reads the text of a chain document. `JSON.parse` alone keeps the last of two equal keys, rounds large
 * integers and turns 1e400 into Infinity, all silently; here each is a mistake with its line and column.
 */

import { jsonMistake } from '../data/json-scanner.ts';
import { fail, ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';

/** The value of a JSON text. Fault `chain.invalid` with one issue. */
export function parseChainText(text: string): Result<unknown> {
  // A text of more characters has more bytes too, and is not worth encoding.
  const bytes = text.length > LIMITS.chainDocumentBytes ? text.length : new TextEncoder().encode(text).byteLength;
  if (bytes > LIMITS.chainDocumentBytes) {
    return refuse('', `The document is larger than ${LIMITS.chainDocumentBytes} bytes; split the chain.`);
  }
  const mistake = jsonMistake(text);
  if (mistake !== undefined) return refuse(mistake.path, mistake.message);
  return ok(JSON.parse(text));
}

const refuse = (path: string, message: string): Result<never> =>
  fail('chain.invalid', path === '' ? message : `${path}: ${message}`, { issues: [{ path, message }] });
