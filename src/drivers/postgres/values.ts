/**
 * Postgres' text output as JSON values, by type, and JSON values as the texts of parameters.
 *
 * Nothing loses its value: `int8` and `numeric` become numbers only where a double holds them exactly and
 * stay texts beyond; `NaN` and infinities, which JSON lacks, stay texts. Instants become ISO 8601 with
 * all their digits. `bytea` stays `\x…`, which Postgres takes back. Any other type stays text.
 */

type ValueParser = (text: string) => unknown;

/** Every decimal of so many digits survives the way through a double and back. */
const EXACT_DIGITS = 15;

const finite: ValueParser = (text) => (Number.isFinite(Number(text)) ? Number(text) : text);
const integer: ValueParser = (text) => (Number.isSafeInteger(Number(text)) ? Number(text) : text);
const decimal: ValueParser = (text) => (text.replace(/^-|\./g, '').length <= EXACT_DIGITS ? finite(text) : text);
const boolean: ValueParser = (text) => text === 't';
const asText: ValueParser = (text) => text;

const json: ValueParser = (text) => {
  const value: unknown = JSON.parse(text);
  return value;
};

/** `2024-01-02 03:04:05.123456+05:30`; `infinity`, years before Christ and other date styles stay as they are. */
const INSTANT = /^(\d{4,})-(\d\d)-(\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(?:([+-]\d\d)(:\d\d)?)?$/;

const instant: ValueParser = (text) => {
  const match = INSTANT.exec(text);
  if (match === null) return text;
  const [, year, month, day, time, hours, minutes = ':00'] = match;
  const zone = hours === undefined ? '' : hours === '+00' && minutes === ':00' ? 'Z' : `${hours}${minutes}`;
  return `${year}-${month}-${day}T${time}${zone}`;
};

/** Object ids of Postgres' own types (`pg_type.dat`): element, array, parser. */
const TYPES: readonly (readonly [element: number, array: number, parser: ValueParser])[] = [
  [16, 1000, boolean],
  [18, 1002, asText], // "char"
  [19, 1003, asText], // name
  [20, 1016, integer], // int8
  [21, 1005, integer], // int2
  [23, 1007, integer], // int4
  [25, 1009, asText], // text
  [26, 1028, integer], // oid
  [114, 199, json],
  [700, 1021, finite], // float4
  [701, 1022, finite], // float8
  [1042, 1014, asText], // char
  [1043, 1015, asText], // varchar
  [1082, 1182, asText], // date
  [1114, 1115, instant], // timestamp, without a zone
  [1184, 1185, instant], // timestamptz
  [1700, 1231, decimal], // numeric
  [2950, 2951, asText], // uuid
  [3802, 3807, json], // jsonb
];

const PARSERS = new Map<number, ValueParser>(
  TYPES.flatMap(([element, array, parser]): [number, ValueParser][] => [
    [element, parser],
    [array, (text) => parseArray(text, parser)],
  ]),
);

export const parserOf = (typeId: number): ValueParser => PARSERS.get(typeId) ?? asText;

/** An array literal: `{1,NULL,"a \"b\"",{2}}`, also with bounds before it (`[0:1]={…}`). */
function parseArray(text: string, element: ValueParser): unknown {
  const root: unknown[] = [];
  const open: unknown[][] = [root];
  const token = /\{|\}|,|"((?:[^"\\]|\\.)*)"|[^{},"]+/gs;
  token.lastIndex = text.startsWith('[') ? text.indexOf('=') + 1 : 0;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [word, quoted] = match;
    const into = open.at(-1);
    if (into === undefined) return text;
    if (word === '{') {
      const inner: unknown[] = [];
      into.push(inner);
      open.push(inner);
    } else if (word === '}') open.pop();
    else if (quoted !== undefined) into.push(element(quoted.replace(/\\(.)/gs, '$1')));
    else if (word !== ',') into.push(word === 'NULL' ? null : element(word));
  }
  return root[0];
}

/** A parameter as Postgres reads it: a list as an array literal, an object as JSON. */
export function parameterOf(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return arrayOf(value);
  return JSON.stringify(value);
}

function arrayOf(list: readonly unknown[]): string {
  const cells = list.map((cell: unknown) => {
    if (Array.isArray(cell)) return arrayOf(cell);
    const text = parameterOf(cell);
    return text === null ? 'NULL' : `"${text.replace(/[\\"]/g, '\\$&')}"`;
  });
  return `{${cells.join(',')}}`;
}
