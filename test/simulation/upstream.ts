/**
 * The outside world that effects reach, and its receipt log: what was truly done, independent of what the
 * gateway remembers. Every success has a value of its own, so that a result computed twice is told apart.
 */

import type { Faults } from './faults.ts';
import type { Instance } from './instance.ts';
import { unheeded } from './substitutes/connectors.ts';
import type { Task, World } from './world.ts';

export interface Receipt {
  readonly run: string;
  readonly delivery: string;
  readonly step: string;
  /** Of which item of a `flow.each`, the outer one first, as `b.a`; empty outside of one. */
  readonly item: string;
  readonly version: number;
  readonly key: string;
  /** Whether it went over the connection whose provider may be down. */
  readonly provider: boolean;
  /** Of steps that were told something from outside, what it was. */
  readonly heard: Readonly<Record<string, number>>;
  /** Of `flow.each` steps, the results of their items. */
  readonly lists: Readonly<Record<string, readonly (number | null)[]>>;
  /** Of steps that it depends on, the values that the request carried. */
  readonly seen: Readonly<Record<string, number>>;
  /** On the clock that programs see. */
  readonly wall: number;
  /** In true time. */
  readonly at: number;
  readonly instance: Instance;
  /** What came back to a living attempt; undefined while it is under way, or where nothing ever came. */
  outcome: 'success' | 'failure' | 'given-up' | undefined;
  readonly value: number;
  /** The instance lived on until everything it wrote about the outcome was durable. */
  settled: boolean;
  settledAt: number;
  settledWall: number;
  /** How long the upstream asked to be left alone, from `outcomeAt` and `outcomeWall` on. */
  retryAfterMilliseconds: number;
  outcomeAt: number;
  outcomeWall: number;
}

type Body = Pick<Receipt, 'run' | 'delivery' | 'step' | 'version'> &
  Partial<Pick<Receipt, 'item' | 'provider' | 'seen' | 'lists'>> & {
    readonly heard?: Readonly<Record<string, number | string>>;
  };

interface UpstreamEvents {
  kill(instance: Instance, reason: string): void;
  /** A request has left the object. */
  received(receipt: Receipt): void;
}

const LONG = 40_000;

export class Upstream {
  readonly #world: World;
  readonly #faults: Faults;
  readonly #events: UpstreamEvents;
  #values = 0;

  constructor(world: World, faults: Faults, events: UpstreamEvents) {
    this.#world = world;
    this.#faults = faults;
    this.#events = events;
  }

  /** `fetch` of an instance. */
  fetch(instance: Instance, init: RequestInit): Promise<Response> {
    const key = new Headers(init.headers).get('idempotency-key') ?? '';
    const signal = init.signal ?? undefined;
    return new Promise((resolve, reject) => {
      const exchange = new Exchange(this.#world, instance, signal ?? unheeded.get(key), resolve, reject);
      signal?.addEventListener('abort', () => exchange.abort(signal.reason));
      unheeded.get(key)?.addEventListener('abort', () => exchange.giveUp());
      if (signal?.aborted) exchange.abort(signal.reason);
      else instance.gate(() => this.#arrive(exchange, key, String(init.body)));
    });
  }

  #arrive(exchange: Exchange, key: string, text: string): void {
    if (exchange.isOver) return;
    const body = JSON.parse(text) as Body;
    const receipt: Receipt = {
      run: body.run,
      delivery: body.delivery,
      step: body.step,
      item: body.item ?? '',
      version: body.version,
      key,
      provider: body.provider ?? false,
      heard: Object.fromEntries(Object.entries(body.heard ?? {}).map(([step, told]) => [step, Number(told)])),
      lists: body.lists ?? {},
      seen: body.seen ?? {},
      wall: this.#world.wall(),
      at: this.#world.now,
      instance: exchange.instance,
      outcome: undefined,
      value: ++this.#values,
      settled: false,
      settledAt: 0,
      settledWall: 0,
      retryAfterMilliseconds: 0,
      outcomeAt: 0,
      outcomeWall: 0,
    };
    this.#events.received(receipt);
    exchange.receipt = receipt;
    const behaviour = receipt.provider ? this.#faults.providerBehaviour() : this.#faults.behaviour();
    this.#world.count(`upstream ${behaviour}`);
    this.#world.note(
      () => `upstream takes ${key} from ${exchange.instance.name} (${behaviour}, value ${receipt.value})`,
    );
    const latency = this.#faults.networkDelay() + this.#faults.networkDelay();
    if (this.#faults.kills('after-effect')) {
      const soon = this.#world.random.next() * latency;
      this.#world.after(soon, undefined, 'kill', () => this.#events.kill(exchange.instance, 'after the effect'));
    }
    const dies = this.#faults.kills('after-response');
    if (dies) this.#killAfter(exchange);
    const { random } = this.#world;
    switch (behaviour) {
      case 'ok':
        return exchange.succeed(latency, receipt.value);
      case 'slow':
        return exchange.succeed(random.below(LONG), receipt.value);
      case 'drip':
        return exchange.drip(latency, receipt.value, random.below(3_000));
      case 'error':
        return exchange.fail(latency, 503, undefined);
      case 'limited':
        return exchange.fail(latency, 429, random.between(1, 60));
      case 'lost':
      case 'reset':
        return exchange.reset(behaviour === 'lost' ? latency : random.below(LONG));
      case 'hang':
        return undefined;
    }
  }

  #killAfter(exchange: Exchange): void {
    exchange.whenReplied = () =>
      this.#world.afterTurn(() =>
        this.#events.kill(exchange.instance, 'after the response, before its writes were durable'),
      );
  }
}

/** One request and its reply. */
class Exchange {
  receipt: Receipt | undefined;
  whenReplied: (() => void) | undefined;
  readonly instance: Instance;
  readonly #world: World;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (response: Response) => void;
  readonly #reject: (reason: unknown) => void;
  #over = false;
  #stream: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(
    world: World,
    instance: Instance,
    signal: AbortSignal | undefined,
    resolve: (response: Response) => void,
    reject: (reason: unknown) => void,
  ) {
    this.#world = world;
    this.instance = instance;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    instance.outgoing++;
  }

  get isOver(): boolean {
    return this.#over;
  }

  giveUp(): void {
    if (this.receipt !== undefined && this.receipt.outcome === undefined) this.#ended(this.receipt, 'given-up');
  }

  abort(reason: unknown): void {
    if (this.#over) return;
    this.giveUp();
    this.#end();
    this.#stream?.error(reason);
    this.#reject(reason);
  }

  succeed(delay: number, value: number): void {
    this.#later(delay, `reply ${value}`, () => {
      this.#replied('success', 0);
      const text = JSON.stringify({ value });
      const headers = { 'content-type': 'application/json', 'content-length': String(text.length) };
      this.#resolve(new Response(text, { headers }));
    });
  }

  /** The headers at once, the body byte by byte. */
  drip(delay: number, value: number, pause: number): void {
    const bytes = new TextEncoder().encode(JSON.stringify({ value }));
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (this.#stream = controller) });
    const next = (index: number): Task =>
      this.#later(pause, `byte ${index} of reply ${value}`, () => {
        this.#stream?.enqueue(bytes.subarray(index, index + 1));
        if (index + 1 < bytes.length) next(index + 1);
        else {
          this.#replied('success', 0);
          this.#stream?.close();
        }
      });
    this.#later(delay, `headers of reply ${value}`, () => {
      this.#resolve(new Response(body, { headers: { 'content-type': 'application/json' } }));
      next(0);
    });
  }

  fail(delay: number, status: number, retryAfterSeconds: number | undefined): void {
    this.#later(delay, `status ${status}`, () => {
      this.#replied('failure', (retryAfterSeconds ?? 0) * 1000);
      const headers: Record<string, string> = { 'content-type': 'text/plain', 'content-length': '2' };
      if (retryAfterSeconds !== undefined) headers['retry-after'] = String(retryAfterSeconds);
      this.#resolve(new Response('no', { status, headers }));
    });
  }

  reset(delay: number): void {
    this.#later(delay, 'connection reset', () => {
      this.#replied('failure', 0);
      this.#reject(new TypeError('connection reset'));
    });
  }

  #later(delay: number, label: string, run: () => void): Task {
    return this.#world.after(delay, this.instance, label, () => {
      if (!this.#over) run();
    });
  }

  #end(): void {
    this.#over = true;
    this.instance.outgoing--;
  }

  #ended(receipt: Receipt, outcome: Receipt['outcome']): void {
    receipt.outcome = outcome;
    receipt.outcomeAt = this.#world.now;
    receipt.outcomeWall = this.#world.wall();
  }

  #replied(outcome: 'success' | 'failure', retryAfterMilliseconds: number): void {
    this.#end();
    const { receipt, instance } = this;
    if (receipt === undefined) return;
    if (this.#signal?.aborted) return this.#ended(receipt, 'given-up');
    this.#ended(receipt, outcome);
    const world = this.#world;
    receipt.retryAfterMilliseconds = retryAfterMilliseconds;
    const signal = this.#signal;
    const settled = (): void => {
      // A run that was stopped meanwhile has no use for it.
      if (signal?.aborted) receipt.outcome = 'given-up';
      else {
        receipt.settled = true;
        receipt.settledAt = world.now;
        receipt.settledWall = world.wall();
      }
    };
    // While the disk is busy, results gather, and are written once it is free: that is the second write.
    const gathered = (): void => world.afterTurn(() => instance.gate(settled));
    world.afterTurn(() => instance.gate(gathered));
    this.whenReplied?.();
  }
}
