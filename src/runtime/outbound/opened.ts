/** An endpoint as its object holds it: its settings compiled, its keys and headers in the clear. */

import * as v from 'valibot';
import { vaultOf } from '../configuration.ts';
import { fault, FaultError } from '../../core/errors.ts';
import { compileSelection, type Selection } from '../../core/outbound/selection.ts';
import { endpointSettings, type EndpointSettings } from '../../core/outbound/settings.ts';
import type { SigningKey } from '../../core/outbound/signature.ts';
import type { Env } from '../../env.ts';
import { loadEndpoint, type EndpointRow } from '../../store/outbound-endpoints.ts';
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

export interface OpenEndpoint extends SealedParts {
  readonly settings: EndpointSettings;
  readonly selection: Selection;
  readonly disabled: EndpointRow['disabled'];
}

/** Rejects with `vault.unreadable`, or where what was sealed is of another form. */
export async function openSealed(vault: Vault, { application, id, sealed }: EndpointRow): Promise<SealedParts> {
  const opened = await vault.open(endpointContext(application, id), sealed);
  if (!opened.ok) throw new FaultError(opened.fault);
  return v.parse(sealedParts, opened.value);
}

/** Undefined for an endpoint that is gone. Rejects where the vault or the database does not answer. */
export async function openEndpoint(env: Env, application: string, id: string): Promise<OpenEndpoint | undefined> {
  const row = await loadEndpoint(env.DB, application, id);
  if (row === undefined) return undefined;
  const vault = vaultOf(env);
  if (!vault.ok) throw new FaultError(vault.fault);
  const parts = await openSealed(vault.value, row);
  const settings = v.safeParse(endpointSettings, row.settings);
  if (!settings.success) {
    throw new FaultError(fault('endpoint.invalid', `The settings of endpoint ${id} cannot be read; save it again.`));
  }
  const selection = compileSelection(settings.output);
  if (!selection.ok) throw new FaultError(selection.fault);
  return { ...parts, settings: settings.output, selection: selection.value, disabled: row.disabled };
}
