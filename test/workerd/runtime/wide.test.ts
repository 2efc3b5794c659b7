import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { publish, manage, upstream } from '../gateway/fixtures.ts';
import { objectOf } from '../../../src/runtime/accept.ts';

const listOf = (length: number): number[] => Array.from({ length }, (_, index) => index);

interface Receipt {
  readonly path: string;
  readonly idempotencyKey?: string;
}

async function receiptsOf(mark: string): Promise<Receipt[]> {
  const all: Receipt[] = await (await fetch(`${upstream}/receipts`)).json();
  return all.filter(({ path }) => path.includes(`mark=${mark}`));
}

const post = (path: string, more: object = {}) => ({ use: 'http.post', with: { url: upstream + path }, ...more });

async function start(steps: object, input: unknown, more: object = {}): Promise<string> {
  const { name } = await publish({ mode: 'durable', triggers: {}, steps, ...more });
  const { body } = await manage(`POST /chains/${name}/runs`, { input });
  return String(body['id']);
}

const answer = async (id: string) => objectOf(env, id)?.wait(id, 50_000);

describe('a wide fan-out', () => {
  it('runs each item once, away from the object, with the key that it would have had there', async () => {
    const id = await start(
      {
        list: {
          use: 'flow.each',
          with: {
            in: '{{ input }}',
            concurrency: 60,
            steps: { act: post('/echo?mark=thousand&n={{ item }}') },
            output: '{{ item & steps.act.status }}',
          },
        },
      },
      listOf(1_000),
      { output: '{{ [steps.list.count, steps.list.results[0], steps.list.results[999], $count(steps.list.errors)] }}' },
    );
    expect(await answer(id)).toMatchObject({ status: 'succeeded', output: '[1000,"0200","999200",0]' });
    const received = await receiptsOf('thousand');
    expect(received).toHaveLength(1_000);
    expect(received.map(({ idempotencyKey }) => idempotencyKey).toSorted()).toEqual(
      listOf(1_000)
        .map((index) => `${id}:list.act:${index}`)
        .toSorted(),
    );
  });
});
