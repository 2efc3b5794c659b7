/** Forms: `application/x-www-form-urlencoded` and `multipart/form-data` (RFC 7578). */

import { Buffer } from 'node:buffer';
import * as v from 'valibot';
import { bytesOf, malformed, textOf, tooLarge, type Format } from './content.ts';
import { isObject } from '../../../core/json.ts';
import { LIMITS } from '../../../core/limits.ts';

export const form: Format = {
  read(content, options) {
    const fields = new Map<string, string | string[]>();
    const given = [...new URLSearchParams(textOf(content, 'a form', options))];
    if (given.length > LIMITS.dataColumns) tooLarge(`More than ${LIMITS.dataColumns} fields.`);
    for (const [name, value] of given) {
      const known = fields.get(name);
      if (Array.isArray(known)) known.push(value);
      else fields.set(name, known === undefined ? value : [known, value]);
    }
    return Object.fromEntries(fields);
  },
  write(content) {
    if (!isObject(content)) return malformed('an object', 'a form is made of one.');
    const fields = new URLSearchParams();
    for (const [name, value] of Object.entries(content)) {
      for (const item of Array.isArray(value) ? value : [value]) {
        if (typeof item === 'object' && item !== null) malformed('writable as a form', `${name} is not plain.`);
        if (item !== null && item !== undefined) fields.append(name, String(item));
      }
    }
    return fields.toString();
  },
};

const parts = v.array(
  v.union([
    v.strictObject({ name: v.string(), value: v.string() }),
    v.strictObject({
      name: v.string(),
      filename: v.string(),
      type: v.optional(
        v.pipe(v.string(), v.regex(/^[\w.+-]+\/[\w.+-]+(?:; ?[\w-]+=[\w.-]+)*$/)),
        'application/octet-stream',
      ),
      base64: v.pipe(v.string(), v.base64()),
    }),
  ]),
);

/** As browsers write it (WHATWG HTML, multipart/form-data encoding algorithm): no line can be smuggled in. */
const quoted = (text: string): string =>
  `"${text.replaceAll('\r', '%0D').replaceAll('\n', '%0A').replaceAll('"', '%22')}"`;

export const multipart: Format = {
  async read(content, { multipart: { boundary: given } }) {
    const bytes = bytesOf(content, 'multipart');
    const [, found] =
      /^(?:\r\n)?--([^\r\n]{1,70})\r\n/.exec(Buffer.from(bytes.subarray(0, 100)).toString('latin1')) ?? [];
    const boundary = given ?? found;
    if (boundary === undefined) return malformed('multipart', 'it does not begin with a boundary.');
    const type = `multipart/form-data; boundary="${boundary}"`;
    let fields: FormData;
    try {
      fields = await new Response(bytes, { headers: { 'content-type': type } }).formData();
    } catch {
      return malformed('multipart', `it has no parts between the boundary ${boundary}.`);
    }
    const entries = [...fields];
    if (entries.length > LIMITS.dataColumns) tooLarge(`More than ${LIMITS.dataColumns} parts.`);
    return Promise.all(
      entries.map(async ([name, part]) => {
        if (typeof part === 'string') return { name, value: part };
        const base64 = Buffer.from(await part.arrayBuffer()).toString('base64');
        return { name, filename: part.name, type: part.type, base64 };
      }),
    );
  },
  write(content, { multipart: { boundary = 'form-data-boundary' } }) {
    const parsed = v.safeParse(parts, content);
    if (!parsed.success) {
      return malformed('a list of parts', 'each is `{ name, value }`, or `{ name, filename, type, base64 }`.');
    }
    const bodies = parsed.output.map((part) =>
      'value' in part ? Buffer.from(part.value) : Buffer.from(part.base64, 'base64'),
    );
    if (bodies.some((body) => body.includes(`--${boundary}`))) {
      return malformed('writable as multipart', `a part holds the boundary; set another \`multipart.boundary\`.`);
    }
    const chunks = parsed.output.flatMap((part, index) => {
      const file = 'filename' in part ? `; filename=${quoted(part.filename)}\r\nContent-Type: ${part.type}` : '';
      const head = `--${boundary}\r\nContent-Disposition: form-data; name=${quoted(part.name)}${file}\r\n\r\n`;
      return [Buffer.from(head), bodies[index] ?? Buffer.alloc(0), Buffer.from('\r\n')];
    });
    return new Uint8Array(Buffer.concat([...chunks, Buffer.from(`--${boundary}--\r\n`)]));
  },
};
