/** What the object of an application holds in memory of D1: its endpoints, and the event types that came up. */

import { compileSelection, type MessageScope, type Selection } from '../../core/outbound/selection.ts';
import { compileJsonSchema, type Validate } from '../../core/data/json-schema.ts';
import { fail, fault, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { loadApplication, loadEventType } from '../../store/outbound.ts';
import { listEndpoints, type EndpointRow } from '../../store/outbound-endpoints.ts';

interface Member {
  readonly id: string;
  readonly isEnabled: boolean;
  readonly selection: Selection;
}

interface EventType {
  readonly loadedAt: number;
  readonly isArchived: boolean;
  readonly validate: Validate | undefined;
}

export class Audience {
  readonly #db: D1Database;
  readonly #now: () => number;
  #members: { readonly loadedAt: number; readonly list: readonly Member[] } | undefined;
  /** Raised by each change, so that what was read before it is not taken for what is. */
  #epoch = 0;
  readonly #eventTypes = new Map<string, EventType>();

  constructor(db: D1Database, now: () => number) {
    this.#db = db;
    this.#now = now;
  }

  /** Endpoints of the application were changed. */
  changed(): void {
    this.#epoch++;
    this.#members = undefined;
  }

  /** Fault `application.not-found`. */
  async members(application: string): Promise<Result<readonly Member[]>> {
    const known = this.#members;
    if (known !== undefined && this.#now() - known.loadedAt < LIMITS.outboundSettingsAgeMilliseconds)
      return ok(known.list);
    for (;;) {
      const epoch = this.#epoch;
      const loadedAt = this.#now();
      const [found, rows] = await Promise.all([
        loadApplication(this.#db, application),
        listEndpoints(this.#db, application),
      ]);
      if (epoch !== this.#epoch) continue;
      if (found === undefined) return fail('application.not-found', `There is no application ${application}.`);
      const list = rows.flatMap(memberOf);
      this.#members = { loadedAt, list };
      return ok(list);
    }
  }

  /** Enabled endpoints that a message is for. */
  async targets(members: readonly Member[], message: MessageScope): Promise<string[]> {
    const wanted = await Promise.all(
      members.map(async ({ id, isEnabled, selection }) => (isEnabled && (await selection.wants(message)) ? [id] : [])),
    );
    return wanted.flat();
  }

  /** Faults `event-type.not-found`, `event-type.archived`, `message.invalid`. */
  async checkPayload(eventType: string, payload: unknown): Promise<Result<void>> {
    const type = await this.#eventType(eventType);
    if (type === undefined) {
      const fix = `PUT /_/api/v1/event-types/${eventType} makes it.`;
      return fail('event-type.not-found', `eventType: There is no event type ${eventType}. ${fix}`);
    }
    if (type.isArchived)
      return fail('event-type.archived', `eventType: ${eventType} is archived; nothing is sent of it.`);
    const issues = (type.validate?.(payload) ?? []).map(({ path, message }) => ({
      path: path === '' ? 'payload' : `payload.${path}`,
      message,
    }));
    if (issues.length === 0) return ok(undefined);
    const words = `The payload does not match the schema of ${eventType}.`;
    return { ok: false, fault: fault('message.invalid', words, { issues }) };
  }

  async #eventType(name: string): Promise<EventType | undefined> {
    const known = this.#eventTypes.get(name);
    const now = this.#now();
    if (known !== undefined && now - known.loadedAt < LIMITS.configurationAgeMilliseconds) return known;
    const row = await loadEventType(this.#db, name);
    if (row === undefined) return undefined;
    const compiled = row.schema === null ? undefined : compileJsonSchema(row.schema);
    if (compiled?.ok === false)
      console.error(`the schema of event type ${name} cannot be compiled`, compiled.fault.issues);
    const validate = compiled?.ok === true ? compiled.value : undefined;
    const type = { loadedAt: now, isArchived: row.archivedAt !== null, validate };
    this.#eventTypes.set(name, type);
    return type;
  }
}

function memberOf({ id, settings, disabled }: EndpointRow): Member[] {
  const selection = compileSelection(settings);
  if (selection.ok) return [{ id, isEnabled: disabled === null, selection: selection.value }];
  console.error(`the endpoint ${id} cannot be compiled`, selection.fault.issues);
  return [];
}
