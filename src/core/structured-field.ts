/** Lists of structured fields, RFC 9651, section 4.1.1, as far as the gateway sends them: texts and whole numbers. */

export type BareItem = string | number | boolean;

export interface Item {
  readonly value: BareItem;
  readonly parameters: Readonly<Record<string, BareItem>>;
}

const LARGEST = 999_999_999_999_999;

/** @throws RangeError for what cannot be said: other characters than printable ASCII, or 16 digits and more */
export const serializeList = (items: readonly Item[]): string => items.map(serializeItem).join(', ');

function serializeItem({ value, parameters }: Item): string {
  let text = serializeBare(value);
  for (const [key, member] of Object.entries(parameters)) {
    if (!/^[a-z*][a-z0-9_.*-]*$/.test(key)) throw new RangeError(`${key} cannot be a key of a structured field`);
    text += member === true ? `;${key}` : `;${key}=${serializeBare(member)}`;
  }
  return text;
}

function serializeBare(value: BareItem): string {
  if (typeof value === 'boolean') return value ? '?1' : '?0';
  if (typeof value === 'number') {
    if (!Number.isInteger(value) || Math.abs(value) > LARGEST) throw new RangeError(`${value} has no structured form`);
    return String(value === 0 ? 0 : value);
  }
  if (!/^[ -~]*$/.test(value)) throw new RangeError('a structured string has only printable ASCII');
  return `"${value.replaceAll(/["\\]/g, '\\$&')}"`;
}
