/** Webhook signatures: what the rest of the gateway uses of them. */

export { SCHEMES, prepareSource, schemeNames, type PreparedSource } from './source.ts';
export { verify } from './verify.ts';
export { sign } from './sign.ts';
