/** The gateway with a meter around it, for `npm run bench -- cost`: the production code, unchanged within. */

import { count, keepAwake, meterBindings, meterStorage, meterTimers, readUsage } from './support/meter.ts';
import type { Env } from '../src/env.ts';
import gateway, { RunObject as ProductionRunObject } from '../src/index.ts';

export { SchedulerObject } from '../src/index.ts';

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

  scheduled(event, env): Promise<void> {
    meterBindings(env);
    return gateway.scheduled(event, env);
  },
} satisfies ExportedHandler<Env>;
