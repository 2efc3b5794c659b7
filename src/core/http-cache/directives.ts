/** The directives of `Cache-Control`: RFC 9111, section 5.2. */

/** By lower-case name; the argument without its quotes, or the empty text. */
export type Directives = ReadonlyMap<string, string>;

export const NO_DIRECTIVES: Directives = new Map();

/** One member of the list. What stands behind it and cannot be read goes with it, up to the next comma. */
const MEMBER = /[\s,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?[^,]*/y;

/** Of a directive that stands there twice the first counts (section 4.2.1). */
export function parseDirectives(header: string | null): Directives {
  if (header === null) return NO_DIRECTIVES;
  const directives = new Map<string, string>();
  let from = 0;
  while (from < header.length) {
    MEMBER.lastIndex = from;
    const [whole, name, quoted, plain] = MEMBER.exec(header) ?? [];
    if (whole === undefined || name === undefined) {
      const comma = header.indexOf(',', from + 1);
      if (comma === -1) break;
      from = comma;
      continue;
    }
    const key = name.toLowerCase();
    if (!directives.has(key)) directives.set(key, quoted?.replaceAll(/\\(.)/g, '$1') ?? plain ?? '');
    from += whole.length;
  }
  return directives;
}

/** Section 1.2.2: what is greater counts as this. */
const MOST_SECONDS = 2 ** 31;

/** `undefined`: not given; 0 where it is given and no number, so that what cannot be read is stale. */
export function secondsOf(directives: Directives, name: string): number | undefined {
  const text = directives.get(name);
  if (text === undefined) return undefined;
  return /^\d+$/.test(text) ? Math.min(Number(text), MOST_SECONDS) : 0;
}

const IMF_FIXDATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;
const RFC_850 = /^[A-Z][a-z]{5,8}, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT$/;
const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;

/** Unix milliseconds of the three forms of RFC 9110, section 5.6.7; undefined for any other text, such as `0`. */
export function parseHttpDate(text: string | null): number | undefined {
  if (text === null) return undefined;
  const known = IMF_FIXDATE.test(text) || RFC_850.test(text) ? text : ASCTIME.test(text) ? `${text} GMT` : undefined;
  const time = known === undefined ? Number.NaN : Date.parse(known);
  return Number.isNaN(time) ? undefined : time;
}
