/** What is sealed of an endpoint: its signing keys and the values of its headers. */

import * as v from 'valibot';
import { FaultError } from '../../core/errors.ts';
import type { SigningKey } from '../../core/outbound/signature.ts';
import type { Reader } from '../../core/seal.ts';
import type { EndpointRow } from '../../store/outbound-endpoints.ts';
import { endpointContext, type Vault } from '../../vault/vault.ts';

const sealedParts = v.strictObject({
  keys: v.pipe(v.array(v.strictObject({ secret: v.string(), until: v.exactOptional(v.number()) })), v.minLength(1)),
  headers: v.record(v.string(), v.string()),
});

/** What is sealed of an endpoint. Never log or return it. */
export interface SealedParts {
  /** The newest first. */
  readonly keys: readonly SigningKey[];
  /** Sent with each delivery, by name in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Rejects with `vault.unreadable`, or where what was sealed is of another form. */
export async function openSealed(
  vault: Vault,
  { application, id, sealed }: EndpointRow,
  reader: Reader,
): Promise<SealedParts> {
  const opened = await vault.open(endpointContext(application, id), sealed, reader);
  if (!opened.ok) throw new FaultError(opened.fault);
  return v.parse(sealedParts, opened.value);
}
