/** Builds the bytes that are signed out of a template such as `{id}.{timestamp}.{body}`. */

import { utf8 } from './encoding.ts';

export interface ContentFields {
  readonly id: string;
  readonly timestamp: string;
}

export interface ContentTemplate {
  /**
   * What follows `{id}`. An id that held it could trade characters with the timestamp under one
   * signature, so such an id is refused (Standard Webhooks, "Signature scheme").
   */
  readonly idEnd: string;
  /** The body itself where nothing else is signed; otherwise one copy of it. */
  build(fields: ContentFields, body: Uint8Array): Uint8Array;
}

/** @param template with `{body}` exactly once */
export function compileContent(template: string): ContentTemplate {
  const [before = '', after = ''] = template.split('{body}');
  const head = partsOf(before);
  const tail = partsOf(after);
  return {
    idEnd: /\{id\}([^{]*)/.exec(template)?.[1] ?? '',
    build(fields, body) {
      if (template === '{body}') return body;
      const start = utf8(fill(head, fields));
      const end = utf8(fill(tail, fields));
      const content = new Uint8Array(start.length + body.length + end.length);
      content.set(start);
      content.set(body, start.length);
      content.set(end, start.length + body.length);
      return content;
    },
  };
}

type Part = { readonly text: string } | { readonly field: keyof ContentFields };

const partsOf = (template: string): readonly Part[] =>
  template
    .split(/(\{id\}|\{timestamp\})/)
    .map((part) =>
      part === '{id}' ? { field: 'id' } : part === '{timestamp}' ? { field: 'timestamp' } : { text: part },
    );

function fill(parts: readonly Part[], fields: ContentFields): string {
  let text = '';
  for (const part of parts) text += 'text' in part ? part.text : fields[part.field];
  return text;
}
