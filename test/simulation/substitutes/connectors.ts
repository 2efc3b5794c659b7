/** Stands in for `connectors/index.ts`: `http.post` in every effect class. */

import { data } from '../../../src/connectors/data/index.ts';
import { flow } from '../../../src/connectors/flow/index.ts';
import { http } from '../../../src/connectors/http/index.ts';
import type { Action, Connector } from '../../../src/connectors/kit/types.ts';

const { post } = http.actions;
if (post === undefined) throw new Error('There is no http.post to simulate effects with.');

/** Signals of attempts whose action does not heed them, by idempotency key: the newest attempt's. */
export const unheeded = new Map<string, AbortSignal>();

/** Goes on after its time is over, so that its result comes late. */
const stubborn: Action = {
  ...post,
  run: (params, context) => {
    if (context.signal !== undefined) unheeded.set(context.idempotencyKey, context.signal);
    return post.run(params, Object.create(context, { signal: { value: undefined } }) as typeof context);
  },
};

const sim: Connector = {
  name: 'sim',
  title: 'Simulated effects',
  ...(http.connection && { connection: http.connection }),
  actions: {
    idempotent: { ...post, effect: 'idempotent' },
    keyed: post,
    external: { ...post, effect: 'external' },
    stubborn,
  },
};

export const connectors: readonly Connector[] = [flow, data, http, sim];
