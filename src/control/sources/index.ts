/** Webhook sources: who may send, and how that is verified. Secrets can only be replaced. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { fields, instant, iso, listOf } from '../schemas.ts';
import { DURATION, formatDuration, parseDuration } from '../../core/chain/duration.ts';
import { fail, ok, type Issue, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { ownerConfirms, prepareSource, schemeNames } from '../../core/webhook/index.ts';
import { inboxSettings } from '../../runtime/inbox-settings.ts';
import { listSources, loadSource, removeSource, saveSource, type SourceRow } from '../../store/sources.ts';
import { Secret } from '../../vault/secret.ts';
import { sourceContext } from '../../vault/vault.ts';

const TAG = 'Sources';
const PATH = `${API}/sources/{name}`;

const secretText = v.pipe(v.string(), v.minLength(1));

const duration = (description: string, usual: number) =>
  v.optional(
    v.pipe(
      v.string(),
      v.regex(DURATION),
      v.examples(['1h', '7d']),
      v.description(
        `${description} From ${formatDuration(LIMITS.eventRetentionShortestMilliseconds)} to ` +
          `${formatDuration(LIMITS.eventRetentionLongestMilliseconds)}; default: ${formatDuration(usual)}.`,
      ),
    ),
  );

const body = v.strictObject({
  scheme: v.pipe(v.string(), v.description(`One of: ${schemeNames.join(', ')}.`)),
  secret: v.optional(
    v.pipe(
      v.union([secretText, v.pipe(v.array(secretText), v.maxLength(LIMITS.sourceSecrets))]),
      v.description('Never shown again. Several while the sender rotates: each of them is accepted.'),
      v.transform((value) => new Secret(typeof value === 'string' ? [value] : value)),
    ),
  ),
  settings: fields,
  inbox: v.optional(
    v.strictObject({
      dedupe: duration('How long a delivery that comes again is known.', LIMITS.deliveryMemoryMilliseconds),
      retention: duration(
        'How long events are kept; at least as long as deliveries are known.',
        LIMITS.eventRetentionMilliseconds,
      ),
    }),
    {},
  ),
});

const shown = v.strictObject({
  name: v.string(),
  scheme: v.string(),
  settings: v.record(v.string(), v.unknown()),
  inbox: v.strictObject({ dedupe: v.string(), retention: v.string() }),
  url: v.pipe(v.string(), v.description('Where the sender delivers to.')),
  createdAt: instant,
  updatedAt: instant,
});

const show = ({ name, scheme, settings, inbox, createdAt, updatedAt }: SourceRow, origin: string) => ({
  name,
  scheme,
  settings,
  inbox: shownInbox(inbox),
  url: `${origin}/hooks/${name}`,
  createdAt: iso(createdAt),
  updatedAt: iso(updatedAt),
});

function shownInbox(inbox: SourceRow['inbox']) {
  const { dedupeMilliseconds, retentionMilliseconds } = inboxSettings({ inbox });
  return { dedupe: formatDuration(dedupeMilliseconds), retention: formatDuration(retentionMilliseconds) };
}

/** Null where it says nothing. Fault `source.invalid`. */
function inboxOf(given: {
  readonly dedupe?: string | undefined;
  readonly retention?: string | undefined;
}): Result<SourceRow['inbox']> {
  const { eventRetentionShortestMilliseconds: shortest, eventRetentionLongestMilliseconds: longest } = LIMITS;
  const issues: Issue[] = [];
  const read = (field: 'dedupe' | 'retention'): number | undefined => {
    const text = given[field];
    const milliseconds = text === undefined ? undefined : (parseDuration(text) ?? 0);
    if (milliseconds !== undefined && (milliseconds < shortest || milliseconds > longest)) {
      const message = `Must be from ${formatDuration(shortest)} to ${formatDuration(longest)}.`;
      issues.push({ path: `inbox.${field}`, message });
    }
    return milliseconds;
  };
  const dedupeMilliseconds = read('dedupe');
  const retentionMilliseconds = read('retention');
  if ((retentionMilliseconds ?? Infinity) < (dedupeMilliseconds ?? LIMITS.deliveryMemoryMilliseconds)) {
    const message = 'Must be at least `inbox.dedupe`: a delivery is known by its event. Give both.';
    issues.push({ path: 'inbox.retention', message });
  }
  if (issues.length > 0) return fail('source.invalid', `${issues[0]?.path}: ${issues[0]?.message}`, { issues });
  if (dedupeMilliseconds === undefined && retentionMilliseconds === undefined) return ok(null);
  return ok({
    ...(dedupeMilliseconds !== undefined && { dedupeMilliseconds }),
    ...(retentionMilliseconds !== undefined && { retentionMilliseconds }),
  });
}

const notFound = (name: string) => fail('source.not-found', `There is no webhook source named ${name}.`);

export const sources = [
  endpoint({
    id: 'saveSource',
    tag: TAG,
    summary: 'Make or replace a webhook source',
    role: 'admin',
    method: 'PUT',
    path: PATH,
    body: jsonBody(body),
    replies: {
      200: { description: 'It was replaced.', schema: shown },
      201: { description: 'It was made.', schema: shown },
    },
    faults: ['source.invalid', 'vault.closed'],
    async handle({ ports, actor, origin, params: { name }, body: { scheme, secret, settings, inbox: given } }) {
      const inbox = inboxOf(given);
      if (!inbox.ok) return inbox;
      const secrets = secret?.reveal() ?? [];
      const prepared = await prepareSource({ name, scheme, secrets, settings });
      if (!prepared.ok) return prepared;
      if (!ports.vault.ok) return ports.vault;
      const sealed = await ports.vault.value.seal(sourceContext(scheme, name), secrets);
      const { row, created } = await saveSource(
        ports.db,
        { name, scheme, settings, inbox: inbox.value, sealed },
        actor,
        ports.now(),
      );
      await ports.configurationChanged();
      return ok({ status: created ? 201 : 200, body: show(row, origin) });
    },
  }),

  endpoint({
    id: 'listSources',
    tag: TAG,
    summary: 'List the webhook sources',
    role: 'viewer',
    method: 'GET',
    path: `${API}/sources`,
    replies: { 200: { description: 'Ordered by name, without secrets.', schema: listOf(shown) } },
    async handle({ ports, origin }) {
      const rows = await listSources(ports.db);
      return ok({ status: 200, body: { items: rows.map((row) => show(row, origin)) } });
    },
  }),

  endpoint({
    id: 'getSource',
    tag: TAG,
    summary: 'Read a webhook source',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    replies: { 200: { description: 'Without secrets.', schema: shown } },
    faults: ['source.not-found'],
    async handle({ ports, origin, params: { name } }) {
      const row = await loadSource(ports.db, name);
      return row === undefined ? notFound(name) : ok({ status: 200, body: show(row, origin) });
    },
  }),

  endpoint({
    id: 'readVerificationToken',
    tag: TAG,
    summary: 'Read the token that a vendor brought and wants to have confirmed',
    role: 'viewer',
    method: 'GET',
    path: `${PATH}/verification-token`,
    replies: {
      200: {
        description: 'Enter it at the vendor’s. It can be read for an hour after it came.',
        schema: v.strictObject({ token: v.string() }),
      },
    },
    faults: ['source.not-found', 'vault.closed', 'vault.unreadable'],
    async handle({ ports, actor, params: { name } }) {
      const row = await loadSource(ports.db, name);
      if (row === undefined) return notFound(name);
      if (!ports.vault.ok) return ports.vault;
      const opened = await ports.vault.value.open(sourceContext(row.scheme, name), row.sealed, {
        kind: 'management',
        actor,
      });
      if (!opened.ok) return opened;
      const [token] = v.parse(v.array(v.string()), opened.value);
      const prepared = await prepareSource({ ...row, secrets: token === undefined ? [] : [token] });
      const isOpen = ports.now() - row.updatedAt < LIMITS.webhookConfirmMilliseconds;
      if (token === undefined || !isOpen || !prepared.ok || !ownerConfirms(prepared.value.scheme)) {
        return fail('source.not-found', `The source ${name} has no token that has to be confirmed now.`);
      }
      return ok({ status: 200, body: { token } });
    },
  }),

  endpoint({
    id: 'removeSource',
    tag: TAG,
    summary: 'Remove a webhook source',
    role: 'admin',
    method: 'DELETE',
    path: PATH,
    replies: { 204: { description: 'Its deliveries are refused from now on.' } },
    faults: ['source.not-found'],
    async handle({ ports, actor, params: { name } }) {
      if (!(await removeSource(ports.db, name, actor, ports.now()))) return notFound(name);
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),
];
