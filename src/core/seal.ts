/** Where sealed records belong, and who has them opened. The vault binds each record to its place. */

/** What is sealed: the secrets of a connection, a source, an endpoint, a key that signs, and tokens of OAuth. */
export const SEALED_KINDS = ['connection', 'source', 'endpoint', 'key', 'token'] as const;

/** Where a sealed record belongs. */
export interface SealContext {
  readonly tenant: string;
  readonly kind: (typeof SEALED_KINDS)[number];
  /** The connector of a connection, the scheme of a source. */
  readonly connector: string;
  readonly name: string;
}

/** Who has a record opened, for the access log. */
export type Reader =
  | { readonly kind: 'step'; readonly chain: string; readonly run: string; readonly step: string }
  | { readonly kind: 'management'; readonly actor: string }
  | { readonly kind: 'subscription'; readonly chain: string; readonly trigger: string }
  /** The gateway for itself, e.g. `webhook`, `delivery`, `probe`. */
  | { readonly kind: 'gateway'; readonly actor: string };

export const connectionContext = (tenant: string, connector: string, name: string): SealContext => ({
  tenant,
  kind: 'connection',
  connector,
  name,
});

/** The tokens of a connection, and what an authorization that is under way must not show. */
export const tokenContext = (tenant: string, name: string): SealContext => ({
  tenant,
  kind: 'token',
  connector: '',
  name,
});

/** What is sealed is the signing keys and the values of the headers. */
export const endpointContext = (application: string, id: string): SealContext => ({
  tenant: application,
  kind: 'endpoint',
  connector: '',
  name: id,
});

/** Sources belong to the owner; what is sealed is the list of their secrets. */
export const sourceContext = (scheme: string, name: string): SealContext => ({
  tenant: '',
  kind: 'source',
  connector: scheme,
  name,
});

/** With what the owner of an API key signs requests. */
export const signingContext = (key: string): SealContext => ({
  tenant: '',
  kind: 'key',
  connector: 'signing',
  name: key,
});

/** The encrypted content of a sealed record: it stays when the record is wrapped anew, and no two seals share it. */
export const contentOf = (sealed: string): string => sealed.slice(sealed.lastIndexOf('.') + 1);
