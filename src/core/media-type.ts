/** What a `Content-Type` says. */

const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\b/i;

/** `application/json` and all `+json` types, with or without parameters. */
export const isJson = (type: string | null): boolean =>
  type === 'application/json' || (type !== null && JSON_TYPE.test(type));
