/** How an engine is reached. */

import { Buffer } from 'node:buffer';
import type { InferOutput } from 'valibot';
import type { ActionContext } from '../kit/types.ts';
import type { Engine } from '../../drivers/docker/engine.ts';
import { secrets, settings } from './schemas.ts';

export const connection = { settings, secrets };
export type Settings = InferOutput<typeof settings>;
export type Context = ActionContext<Settings, InferOutput<typeof secrets>>;

export function engineOf({ connection: { settings: at, secrets: keys } }: Context): Engine {
  const { bearer, username, password } = keys;
  if (bearer !== undefined) return { url: at.url, authorization: `Bearer ${bearer}` };
  if (password === undefined) return { url: at.url };
  return { url: at.url, authorization: `Basic ${Buffer.from(`${username ?? ''}:${password}`).toString('base64')}` };
}
