/** An endpoint as its object holds it: its settings compiled, its keys and headers in the clear. */

import * as v from 'valibot';
import { openSealed, type SealedParts } from './sealed-parts.ts';
import { vaultOf } from '../configuration.ts';
import { fault, FaultError } from '../../core/errors.ts';
import { compileSelection, type Selection } from '../../core/outbound/selection.ts';
import { endpointSettings, type EndpointSettings } from '../../core/outbound/settings.ts';
import type { Env } from '../../env.ts';
import { loadEndpoint, type EndpointRow } from '../../store/outbound-endpoints.ts';

export interface OpenEndpoint extends SealedParts {
  readonly settings: EndpointSettings;
  readonly selection: Selection;
  readonly disabled: EndpointRow['disabled'];
}

/** Undefined for an endpoint that is gone. Rejects where the vault or the database does not answer. */
export async function openEndpoint(env: Env, application: string, id: string): Promise<OpenEndpoint | undefined> {
  const row = await loadEndpoint(env.DB, application, id);
  if (row === undefined) return undefined;
  const vault = vaultOf(env);
  if (!vault.ok) throw new FaultError(vault.fault);
  const parts = await openSealed(vault.value, row, { kind: 'gateway', actor: 'delivery' });
  const settings = v.safeParse(endpointSettings, row.settings);
  if (!settings.success) {
    throw new FaultError(fault('endpoint.invalid', `The settings of endpoint ${id} cannot be read; save it again.`));
  }
  const selection = compileSelection(settings.output);
  if (!selection.ok) throw new FaultError(selection.fault);
  return { ...parts, settings: settings.output, selection: selection.value, disabled: row.disabled };
}
