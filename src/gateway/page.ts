/** Pages that the gateway shows to people who have no account with it: plain HTML that works without a script. */

const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export const escape = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => ESCAPES[character] ?? '');

interface Extras {
  /** HTML behind the text; whatever is not of this program must have been through {@link escape}. */
  readonly body?: string;
  /** The same for the head. */
  readonly head?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** @param title and text as plain text */
export function page(status: number, title: string, text: string, { body = '', head = '', headers }: Extras = {}) {
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
${head}<title>${escape(title)}</title><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem;color:#1c2530}
label{display:block;margin:1rem 0}input,textarea{display:block;width:100%;box-sizing:border-box;font:inherit;padding:.4rem}
button{font:inherit;padding:.5rem 1.25rem;margin-right:.5rem}p{white-space:pre-wrap}</style>
<main><h1>${escape(title)}</h1><p>${escape(text)}</p>${body}</main></html>`;
  return new Response(html, { status, headers: { ...HEADERS, ...headers } });
}
