/** Runs under load in a gateway that is killed again and again; what is seen of it goes to the verdict. */

import { setTimeout as delay } from 'node:timers/promises';
import { seeded } from './random.ts';
import { startReceiver, type Receiver } from './receiver.ts';
import { grouped, judge, stepKey, type Evidence, type RunView, type Violation } from './verdict.ts';
import { createVictim, type Victim } from './victim.ts';
import { call, type Api } from '../launcher/api.ts';

export interface CampaignOptions {
  readonly runs: number;
  readonly kills: number;
  readonly seed: number;
  /** For the gateway's data; empty. */
  readonly directory: string;
  readonly log: (line: string) => void;
}

export interface Report {
  readonly violations: readonly Violation[];
  readonly figures: Readonly<Record<string, number>>;
}

const STEPS = ['e1', 'e2', 'e3', 'e4', 'e5'] as const;
const LAST_STEP = 'e5';
const CHAIN = 'chaos';
const EFFECT_MILLISECONDS = 30;
/** Clients that start runs. */
const STARTERS = 16;
/** Runs under way at most: more than a run object drives at a time, so that kills hit queued ones too. */
const OPEN_RUNS = 400;
/** Runs that are looked at right before a kill. */
const SAMPLE = 100;
const KILL_DELAY_MILLISECONDS = 200;
/** Without an effect for so long, nothing more is to come: a sweep each minute takes up what was left behind. */
const STILLNESS_MILLISECONDS = 150_000;

/** Each effect needs the reply of the one before. */
const chainFor = (host: string) => ({
  name: CHAIN,
  mode: 'durable',
  steps: Object.fromEntries(
    STEPS.map((step, index) => [
      step,
      {
        use: 'http.post',
        with: {
          url: `http://${host}/{{ run.id }}/${step}`,
          json: { previous: index === 0 ? '{{ input.n }}' : `{{ steps.${STEPS[index - 1]}.body.token }}` },
        },
        retries: { limit: 5, delay: '100ms' },
      },
    ]),
  ),
  output: STEPS.map((step) => `{{ steps.${step}.body.token }}`),
});

/** What the parts of a campaign share. */
interface Campaign {
  readonly options: CampaignOptions;
  readonly random: () => number;
  readonly victim: Victim;
  readonly receiver: Receiver;
  /** The gateway that answers now, or soon. */
  api: Promise<Api>;
  readonly accepted: Set<string>;
  /** Accepted or not, runs whose last effect has happened. */
  readonly finished: Set<string>;
  readonly committed: Map<string, number>;
  restartMilliseconds: number;
  lastEffectAt: number;
}

export async function runCampaign(options: CampaignOptions): Promise<Report> {
  const random = seeded(options.seed);
  const finished = new Set<string>();
  const startedAt = performance.now();
  const receiver = await startReceiver(
    () => EFFECT_MILLISECONDS * (0.5 + random()),
    ({ run, step }) => {
      campaign.lastEffectAt = performance.now();
      if (step === LAST_STEP) finished.add(run);
    },
  );
  const victim = await createVictim(options.directory, receiver.host);
  const campaign: Campaign = {
    options,
    random,
    victim,
    receiver,
    api: victim.start(),
    accepted: new Set(),
    finished,
    committed: new Map(),
    restartMilliseconds: 0,
    lastEffectAt: performance.now(),
  };
  try {
    await call(await campaign.api, 'PUT', `/chains/${CHAIN}`, chainFor(receiver.host));
    await Promise.all([startRuns(campaign), killAtTimes(campaign)]);
    await settle(campaign);
    const records = await readAll(campaign);
    return reportOf(campaign, records, performance.now() - startedAt);
  } finally {
    await victim.kill();
    await receiver.stop();
  }
}

async function startRuns(campaign: Campaign): Promise<void> {
  const { options, accepted } = campaign;
  let begun = 0;
  const starter = async (): Promise<void> => {
    while (begun < options.runs && !isStill(campaign)) {
      if (openRuns(campaign) >= OPEN_RUNS) {
        await delay(5);
        continue;
      }
      const n = begun++;
      try {
        const { id } = await call<{ id: string }>(await campaign.api, 'POST', `/chains/${CHAIN}/runs`, {
          input: { n },
        });
        accepted.add(id);
      } catch {
        // No 202, no promise; another takes its place.
        begun--;
        await delay(10);
      }
    }
  };
  await Promise.all(Array.from({ length: STARTERS }, starter));
}

const openRuns = ({ accepted, finished }: Campaign): number => Math.max(0, accepted.size - finished.size);

const isStill = ({ lastEffectAt }: Campaign): boolean => performance.now() - lastEffectAt > STILLNESS_MILLISECONDS;

/** The kills are spread over the load: one somewhere in each equal part of it. */
async function killAtTimes(campaign: Campaign): Promise<void> {
  const { options, random, victim, accepted } = campaign;
  const times = Array.from({ length: options.kills }, (_, part) => ({
    afterRuns: Math.floor(((part + random()) * options.runs) / options.kills),
    delayMilliseconds: random() * KILL_DELAY_MILLISECONDS,
  }));
  for (const [index, { afterRuns, delayMilliseconds }] of times.entries()) {
    while (accepted.size < afterRuns && !isStill(campaign)) await delay(2);
    await delay(delayMilliseconds);
    await look(campaign);
    const killedAt = performance.now();
    const open = openRuns(campaign);
    campaign.api = victim.kill().then(() => victim.start());
    await campaign.api;
    const milliseconds = performance.now() - killedAt;
    campaign.restartMilliseconds += milliseconds;
    campaign.lastEffectAt = performance.now();
    options.log(
      `kill ${index + 1} of ${options.kills}: ${accepted.size} runs accepted, ${open} under way; up again after ${milliseconds.toFixed(0)} ms`,
    );
  }
}

/** Asks the API for some of the runs under way, and notes which results it shows. */
async function look(campaign: Campaign): Promise<void> {
  const { accepted, finished, random, committed } = campaign;
  const open = [...accepted].filter((run) => !finished.has(run));
  const sample = Array.from({ length: Math.min(SAMPLE, open.length) }, () => open[Math.floor(random() * open.length)]);
  const api = await campaign.api;
  await Promise.all(
    sample.map(async (id) => {
      const run = await call<RunView>(api, 'GET', `/runs/${id}`).catch(() => undefined);
      const at = performance.now();
      for (const step of run?.steps ?? []) {
        const key = stepKey(run?.id ?? '', step.id);
        if (step.status === 'succeeded' && !committed.has(key)) committed.set(key, at);
      }
    }),
  );
}

/** Resolves when the last effect of every accepted run has happened, or when nothing happens any more. */
async function settle(campaign: Campaign): Promise<void> {
  const { accepted, finished } = campaign;
  while (!isStill(campaign) && ![...accepted].every((run) => finished.has(run))) await delay(100);
}

const ENDED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled']);

async function readAll(campaign: Campaign): Promise<Map<string, RunView>> {
  const api = await campaign.api;
  const records = new Map<string, RunView>();
  const waiting = [...campaign.accepted];
  const reader = async (): Promise<void> => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      const run = await call<RunView>(api, 'GET', `/runs/${id}`).catch(() => undefined);
      if (run === undefined) continue;
      records.set(id, run);
      if (ENDED.has(run.status) || isStill(campaign)) continue;
      waiting.push(id);
      await delay(20);
    }
  };
  await Promise.all(Array.from({ length: STARTERS }, reader));
  return records;
}

function reportOf(campaign: Campaign, records: Map<string, RunView>, milliseconds: number): Report {
  const { options, receiver, accepted, committed } = campaign;
  const { receipts, effects } = receiver;
  const evidence: Evidence = { steps: STEPS, accepted: [...accepted], records, receipts, effects, committed };
  const seen = new Set(receipts.map(({ run }) => run));
  const times = [...records.values()].map(
    ({ createdAt, endedAt }) => Date.parse(endedAt ?? '') - Date.parse(createdAt),
  );
  return {
    violations: judge(evidence),
    figures: {
      'runs accepted': accepted.size,
      'runs that ended as succeeded': [...records.values()].filter(({ status }) => status === 'succeeded').length,
      'runs stored whose 202 was lost': [...seen].filter((run) => !accepted.has(run)).length,
      kills: options.kills,
      'mean restart in ms': Math.round(campaign.restartMilliseconds / Math.max(1, options.kills)),
      'results seen committed before a kill': committed.size,
      effects: effects.length,
      requests: receipts.length,
      'effects cut off and asked for again': [...grouped(receipts).values()].filter(({ length }) => length > 1).length,
      'slowest run in ms': Math.max(0, ...times.filter(Number.isFinite)),
      seconds: Math.round(milliseconds / 1_000),
    },
  };
}
