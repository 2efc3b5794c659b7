/**
 * JSON from outside, without the three things that `JSON.parse` does silently: it rounds integers beyond 2^53,
 * makes Infinity of 1e400, and keeps the last of two equal keys.
 *
 * Guarantee: what comes back is what was sent. An integer beyond 2^53 is its digits as a text; a number that
 * is too large, an equal key and too deep a nesting are refused with their place.
 */

import { jsonMistake } from './json-scanner.ts';
import { fail, ok, type Result } from '../errors.ts';
import { isObject } from '../json.ts';
import { LIMITS } from '../limits.ts';

/**
 * Fault `request.invalid`.
 * @param equalKeys `last`: the last one counts, for replies, whose senders nobody here can correct
 */
export function parseJson(text: string, equalKeys: 'refuse' | 'last' = 'refuse'): Result<unknown> {
  const members = membersOf(text);
  if (members === undefined) {
    return fail('request.invalid', `The JSON is nested deeper than ${LIMITS.jsonDepth} levels.`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : 'not readable';
    return fail('request.invalid', `The body is not JSON: ${reason}.`);
  }
  const found = { members: 0, isLarge: false, isInfinite: false };
  look(value, found);
  if (found.members === members && !found.isLarge) return ok(value);
  const mistake = jsonMistake(text, 'keep');
  if (mistake !== undefined && (equalKeys === 'refuse' || found.isInfinite)) {
    const where = mistake.path === '' ? '' : `${mistake.path}: `;
    return fail('request.invalid', `${where}${mistake.message}`, { issues: [mistake] });
  }
  return ok(found.isLarge ? JSON.parse(quoteLargeIntegers(text)) : value);
}

const QUOTE = 34;
const BACKSLASH = 92;
const COLON = 58;

/**
 * How many members the objects of a text have together, equal keys counted twice; undefined where it is nested
 * too deep. Looks before parsing: what recurses must not be handed 100,000 brackets.
 */
function membersOf(text: string): number | undefined {
  let depth = 0;
  let members = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) {
      index = endOf(text, index);
    } else if (code === COLON) members++;
    else if (code === 91 || code === 123) {
      if (++depth > LIMITS.jsonDepth) return undefined;
    } else if (code === 93 || code === 125) depth--;
  }
  return members;
}

/** Of a text in quotes that begins at `start`. */
function endOf(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === BACKSLASH) index++;
    else if (code === QUOTE) return index;
  }
  return text.length;
}

function look(value: unknown, found: { members: number; isLarge: boolean; isInfinite: boolean }): void {
  if (typeof value === 'number') {
    found.isLarge ||= !(Math.abs(value) <= Number.MAX_SAFE_INTEGER);
    found.isInfinite ||= !Number.isFinite(value);
  } else if (Array.isArray(value)) for (const item of value) look(item, found);
  else if (isObject(value)) {
    for (const key in value) {
      found.members++;
      look(value[key], found);
    }
  }
}

/** Texts and numbers matched whole, so that digits inside them stay as they are. */
const TEXT_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** The integers beyond 2^53 of a JSON text made texts. */
export const quoteLargeIntegers = (json: string): string =>
  json.replace(TEXT_OR_NUMBER, (match) =>
    /^-?\d{16,}$/.test(match) && !Number.isSafeInteger(Number(match)) ? `"${match}"` : match,
  );
