/** The gateway with a meter around it, for `npm run bench -- cost`: the production code, unchanged within. */

import { count, keepAwake, meterBindings, meterStorage, meterTimers, readUsage } from './support/meter.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { Env } from '../src/env.ts';
import gateway, { RunObject as ProductionRunObject } from '../src/index.ts';

export { IdempotencyObject, SchedulerObject, StepsWorker } from '../src/index.ts';

// Ended runs leave the object forty times as early, so that a short load sees it.
Object.assign(LIMITS, { endedRuns: LIMITS.endedRuns / 40, repeatMilliseconds: LIMITS.repeatMilliseconds / 40 });

meterTimers();

export class RunObject extends ProductionRunObject {
  constructor(ctx: DurableObjectState, env: Env) {
    meterStorage(ctx.storage);
    meterBindings(env);
    super(ctx, env);
  }

  override alarm(): Promise<void> {
    count('alarmsRun');
    return keepAwake(super.alarm());
  }
}

export default {
  fetch(request, env, ctx): Response | Promise<Response> {
    meterBindings(env);
    if (new URL(request.url).pathname === '/bench/usage') return Response.json(readUsage());
    count('workerRequests');
    return gateway.fetch(request, env, ctx);
  },

  queue: (batch, env, ctx) => gateway.queue(batch, env, ctx),

  scheduled(event, env): Promise<void> {
    meterBindings(env);
    return gateway.scheduled(event, env);
  },
} satisfies ExportedHandler<Env>;
