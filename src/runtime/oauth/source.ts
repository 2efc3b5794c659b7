/**
 * The tokens of a connection as an isolate sees them: from memory while they are fresh, from the connection's
 * object otherwise. Nothing here is shared between requests but what has arrived.
 */

import { tokensOf, type Place } from './place.ts';
import type { GivenToken, Refused } from './token-object.ts';
import type { AccessToken, TokenSource } from '../../connectors/kit/types.ts';
import { fail, fault, ok, type Fault, type Result } from '../../core/errors.ts';
import type { Env } from '../../env.ts';

/** @param seenAt when the connection was last changed, in unix milliseconds */
export function tokenSource(env: Env, place: Place, seenAt: number): TokenSource {
  let known: GivenToken | undefined;

  const ask = async (refused: number | undefined): Promise<Result<AccessToken>> => {
    try {
      const reply = await tokensOf(env, place).token(place, seenAt, refused);
      if (!reply.ok) return { ok: false, fault: faultFrom(reply) };
      // Answers may overtake each other.
      if (known === undefined || reply.value.generation >= known.generation) known = reply.value;
      return ok(reply.value);
    } catch (thrown) {
      return fail('oauth.unavailable', `The tokens of ${place.name} cannot be read now.`, { detail: thrown });
    }
  };

  return {
    get(refused) {
      const usable = known !== undefined && known.generation !== refused?.generation && Date.now() < known.until;
      return usable && known !== undefined ? ok(known) : ask(refused?.generation);
    },
  };
}

export const faultFrom = ({ code, message, retryAfterMilliseconds }: Refused): Fault =>
  fault(code, message, retryAfterMilliseconds === undefined ? {} : { retryAfterMilliseconds });
