/** What can be told of a URL without parsing it, since parsing costs more than a step does. */

/** Scheme and host in lower case, with nothing in front of or behind them that a parser could read differently. */
const PLAIN_ORIGIN = /^https?:\/\/[a-z0-9.-]+(?::\d{1,5})?(?=[/?#]|$)/;

/** The text in front of the path, as it is written; undefined where only a parser can tell. */
export const plainOrigin = (url: string): string | undefined => PLAIN_ORIGIN.exec(url)?.[0];

/** Where the path of an absolute URL starts; -1 where it has none. */
export const pathStart = (url: string): number => url.indexOf('/', url.indexOf('//') + 2);

/** `host` or `host:port`, for messages. */
export const hostOf = (url: string): string => URL.parse(url)?.host ?? '';
