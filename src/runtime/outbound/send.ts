/** Sends a message to an application: for the management API, and for chains. */

import { messagesOf } from './objects.ts';
import type { AcceptedMessage, SentMessage } from './messages-object.ts';
import { fail, fault, type Fault, type Result } from '../../core/errors.ts';
import type { Env } from '../../env.ts';
import { sha256, toHex } from '../../vault/bytes.ts';
import { APPLICATION_ID, loadApplication } from '../../store/outbound.ts';

/**
 * Resolves when the message is on disk.
 *
 * @param application its id or uid
 */
export async function sendMessage(
  env: Env,
  application: string,
  message: SentMessage,
): Promise<Result<AcceptedMessage>> {
  const id = await idOf(env, application);
  if (id === undefined) return fail('application.not-found', `There is no application ${application}.`);
  try {
    const accepted = await messagesOf(env, id).accept(id, JSON.stringify(message));
    return 'id' in accepted ? { ok: true, value: accepted } : { ok: false, fault: JSON.parse(accepted.fault) as Fault };
  } catch (thrown) {
    const words =
      'The message may not have been stored; send it again, with an id of your own so that it is sent once.';
    return { ok: false, fault: fault('storage.unavailable', words, { detail: thrown }) };
  }
}

/** As {@link sendMessage}, for a step whose attempts must not send twice. @param key of any characters */
export async function sendOnce(
  env: Env,
  application: string,
  message: Omit<SentMessage, 'id'>,
  key: string,
): Promise<Result<AcceptedMessage>> {
  return sendMessage(env, application, { ...message, id: `step_${toHex(await sha256(key))}` });
}

/** An id of ours needs no look-up: the object of an application knows whether there is one. */
async function idOf(env: Env, application: string): Promise<string | undefined> {
  if (/^app_[0-9a-f]{32}$/.test(application)) return application;
  return application.startsWith(APPLICATION_ID) ? undefined : (await loadApplication(env.DB, application))?.id;
}
