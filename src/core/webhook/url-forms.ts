/** The spellings of one URL that vendors sign; which one it was cannot be told from the request. */

/** What HubSpot writes without its escape in the URL that it signs (its documentation, "v3"). */
const DECODED = /%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)/gi;

/** By name: the URL in that spelling; undefined where it is no absolute URL. */
export const URL_FORMS: Readonly<Record<string, (url: string) => string | undefined>> = {
  /** As the URL standard writes it, without the port. */
  portless,
  /** With the port even where it is the usual one. */
  ported,
  /** Every parameter of the query encoded anew, as older backends of Twilio do. */
  requoted: (url) => requote(portless(url)),
  'requoted-ported': (url) => requote(ported(url)),
  /** Punctuation without its escapes. */
  decoded: (url) => url.replace(DECODED, (escape) => decodeURIComponent(escape)),
};

function portless(url: string): string | undefined {
  const parsed = URL.parse(url);
  if (parsed === null) return undefined;
  parsed.port = '';
  return parsed.href;
}

/** The parser drops a usual port, so it is put behind the host of the text. */
function ported(url: string): string | undefined {
  const parsed = URL.parse(url);
  if (parsed === null) return undefined;
  if (parsed.port !== '') return parsed.href;
  const end = parsed.href.indexOf('/', `${parsed.protocol}//`.length);
  return `${parsed.href.slice(0, end)}:${parsed.protocol === 'https:' ? 443 : 80}${parsed.href.slice(end)}`;
}

function requote(url: string | undefined): string | undefined {
  if (url === undefined) return undefined;
  const [base = '', query] = url.split('?', 2);
  if (query === undefined) return url;
  const pairs = [...new URLSearchParams(query)].map(
    ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`,
  );
  return `${base}?${pairs.join('&')}`;
}
