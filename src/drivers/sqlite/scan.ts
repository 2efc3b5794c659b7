/**
 * What a text of SQL holds, as far as it must be known before the engine gets it: the platform runs all statements
 * of a text one after the other, and it has no authoriser of ours.
 */

/** Texts, quoted names, comments; what is not closed goes on to the end, where the engine refuses it. */
const OPAQUE = /'[^']*(?:'|$)|"[^"]*(?:"|$)|`[^`]*(?:`|$)|\[[^\]]*(?:\]|$)|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/g;

export interface Scanned {
  /** The first word, in lower case, e.g. `select`. */
  readonly kind: string;
  /** Of a `pragma`: its name, in lower case, without a schema. */
  readonly pragma: string | undefined;
  readonly isSingle: boolean;
}

export function scan(text: string): Scanned {
  const bare = text.replace(OPAQUE, (part) => (/^(?:--|\/\*)/.test(part) ? ' ' : "''")).trim();
  return {
    kind: /^[a-z]+/i.exec(bare)?.[0].toLowerCase() ?? '',
    pragma: /^pragma\s+(?:\w+\s*\.\s*)?(\w+)/i.exec(bare)?.[1]?.toLowerCase(),
    // The engine reads up to a zero character and might see an end that is none here.
    isSingle: !text.includes('\u0000') && !/;\s*[^\s;]/.test(withoutBody(bare)),
  };
}

/** The body of a trigger holds statements of its own, up to its `end`. */
function withoutBody(bare: string): string {
  if (!/^create\s+(?:temp(?:orary)?\s+)?trigger\b/i.test(bare)) return bare;
  const body = bare.slice(/\bbegin\b/i.exec(bare)?.index ?? bare.length);
  const end = /;\s*end\b/i.exec(body);
  return end === null ? bare : body.slice(end.index + end[0].length);
}
