/** Cuts a text into what stands as it is and what stands between `{{` and `}}`. */

export interface Segment {
  readonly kind: 'text' | 'expression';
  readonly text: string;
}

/** Undefined for a `{{` that is never closed. */
export function scanTemplate(text: string): readonly Segment[] | undefined {
  const segments: Segment[] = [];
  let from = 0;
  for (let open = text.indexOf('{{'); open !== -1; open = text.indexOf('{{', from)) {
    if (open > from) segments.push({ kind: 'text', text: text.slice(from, open) });
    const close = endOfExpression(text, open + 2);
    if (close === -1) return undefined;
    segments.push({ kind: 'expression', text: text.slice(open + 2, close).trim() });
    from = close + 2;
  }
  if (from < text.length || segments.length === 0) segments.push({ kind: 'text', text: text.slice(from) });
  return segments;
}

/** The `}}` that closes: not one in quotes, in a comment, or that closes braces of the expression itself. */
function endOfExpression(text: string, start: number): number {
  let braces = 0;
  for (let index = start; index < text.length; index++) {
    const char = text[index];
    if (char === '"' || char === "'" || char === '`') index = endOfQuote(text, index, char);
    else if (char === '/' && text[index + 1] === '*') index = endOfComment(text, index);
    else if (char === '{') braces++;
    else if (char === '}') {
      if (braces === 0 && text[index + 1] === '}') return index;
      braces--;
    }
    if (index === -1) return -1;
  }
  return -1;
}

function endOfQuote(text: string, start: number, quote: string): number {
  for (let index = start + 1; index < text.length; index++) {
    if (text[index] === '\\' && quote !== '`') index++;
    else if (text[index] === quote) return index;
  }
  return text.length;
}

function endOfComment(text: string, start: number): number {
  const end = text.indexOf('*/', start + 2);
  return end === -1 ? text.length : end + 1;
}
