import jsonata from 'jsonata';
import { describe, expect, it } from 'vitest';
import { compileExpression } from '../../../src/core/expression/index.ts';
import { readShared, sharedMissing } from '../../support/shared.ts';

interface Case {
  readonly expr?: string;
  readonly 'expr-file'?: string;
  readonly data?: unknown;
  readonly dataset?: string | null;
  readonly bindings?: Record<string, unknown>;
  readonly timelimit?: number;
  readonly depth?: number;
}

interface Suite {
  readonly datasets: Readonly<Record<string, unknown>>;
  readonly groups: Readonly<Record<string, Readonly<Record<string, Case | readonly Case[] | string>>>>;
}

/** Refused on purpose: `$eval` and regular expressions that can explode; bounded by other limits than the library's. */
const REFUSED = /\$eval\b|unsafe-regex/;

type Outcome = { readonly value: unknown } | { readonly code: unknown };

const plain = (value: unknown): unknown =>
  typeof value === 'function' || value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as unknown);

async function byLibrary(source: string, input: unknown, bindings: Record<string, unknown>): Promise<Outcome> {
  try {
    return { value: plain(await jsonata(source).evaluate(input, bindings)) };
  } catch (thrown) {
    return { code: (thrown as { code?: unknown }).code };
  }
}

async function byUs(source: string, input: unknown, bindings: Record<string, unknown>): Promise<Outcome> {
  const compiled = compileExpression(source);
  if (!compiled.ok) return { code: (compiled.fault.data as { code?: unknown }).code };
  try {
    return { value: plain(await compiled.value.evaluate(input, bindings)) };
  } catch (thrown) {
    return { code: (thrown as { fault?: { data?: { code?: unknown } } }).fault?.data?.code ?? thrown };
  }
}

const text = readShared('suites/jsonata-test-suite.json');

describe.skipIf(sharedMissing)('the public JSONata suite', () => {
  const suite = JSON.parse(text ?? '{"datasets":{},"groups":{}}') as Suite;
  let native = 0;
  let total = 0;
  const refused: string[] = [];

  for (const [group, files] of Object.entries(suite.groups)) {
    it(`agrees with the library on every case of ${group}`, async () => {
      for (const [file, content] of Object.entries(files)) {
        if (typeof content === 'string') continue;
        for (const each of Array.isArray(content) ? (content as readonly Case[]) : [content as Case]) {
          const source = each.expr ?? String(files[each['expr-file'] ?? ''] ?? '');
          // These need the guards that our evaluator always has and a bare library has not.
          if (each.timelimit !== undefined || each.depth !== undefined) continue;
          const input = 'data' in each ? each.data : each.dataset ? suite.datasets[each.dataset] : undefined;
          total++;
          const ours = await byUs(source, input, each.bindings ?? {});
          if (REFUSED.test(source) || ('code' in ours && REFUSED.test(String(ours.code)))) {
            refused.push(`${group}/${file}: ${source}`);
            continue;
          }
          const theirs = await byLibrary(source, input, each.bindings ?? {});
          if (/\$(?:now|millis|random|shuffle)\b/.test(source) && 'value' in theirs) {
            expect('value' in ours, `${group}/${file}: ${source}`).toBe(true);
          } else expect(ours, `${group}/${file}: ${source}`).toEqual(theirs);
          const compiled = compileExpression(source);
          if (compiled.ok && compiled.value.native) native++;
        }
      }
    });
  }

  it('answers a good part of the cases without the library, and refuses only what it must', () => {
    expect(total).toBeGreaterThan(1600);
    expect(native).toBeGreaterThan(200);
    console.log(`JSONata suite: ${total} cases, ${native} compiled to closures, ${refused.length} refused on purpose`);
    for (const line of refused) console.log(`  refused: ${line.slice(0, 140)}`);
    expect(refused.length).toBeLessThan(40);
  });
});
