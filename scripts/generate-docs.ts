/** `node scripts/generate-docs.ts [--check]`: the chain reference, the table of webhook sources and the published JSON Schema. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { toJsonSchema } from '@valibot/to-json-schema';
import * as prettier from 'prettier';
import type { GenericSchema } from 'valibot';
import { connectors } from '../src/connectors/index.ts';
import type { Action, Connector, Subscription } from '../src/connectors/kit/types.ts';
import { chainSchema, stepSchema, TRIGGERS } from '../src/core/chain/document.ts';
import { LIMITS } from '../src/core/limits.ts';
import { routeSchema } from '../src/core/route/document.ts';
import { upstreamSchema } from '../src/core/route/upstream.ts';
import { versionSchema } from '../src/core/route/versions.ts';
import { sourcesDocument } from './source-docs.ts';

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
}

const schemaOf = (schema: GenericSchema): Schema =>
  toJsonSchema(schema, { target: 'draft-2020-12', typeMode: 'input', errorMode: 'ignore' }) as Schema;

const code = (value: unknown): string => `\`${JSON.stringify(value)}\``;

/** The words that the compiler's messages use too. */
const TYPES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'number',
  integer: 'whole number',
  boolean: 'true or false',
  object: 'object',
  null: 'null',
};

function typeOf(schema: Schema): string {
  if (schema.const !== undefined) return code(schema.const);
  if (schema.enum !== undefined) return schema.enum.map(code).join(', ');
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map(typeOf))].join(' or ');
  if (schema.type === 'array') {
    const items = schema.items === undefined ? 'anything' : typeOf(schema.items);
    return items === 'anything' ? 'list' : `list of ${items}`;
  }
  return TYPES[schema.type ?? ''] ?? 'anything';
}

const many = (count: number, one: string, several: string): string => `${count} ${count === 1 ? one : several}`;

function boundsOf(schema: Schema): string {
  const { minimum, maximum, minLength, maxLength, minItems, maxItems, maxProperties, pattern, examples } = schema;
  const bounds = [
    minimum === undefined ? [] : `≥ ${minimum}`,
    maximum === undefined ? [] : `≤ ${maximum}`,
    minLength === undefined ? [] : minLength === 1 ? 'not empty' : `at least ${minLength} characters`,
    maxLength === undefined ? [] : `at most ${maxLength} characters`,
    minItems === undefined ? [] : `at least ${many(minItems, 'entry', 'entries')}`,
    maxItems === undefined ? [] : `at most ${many(maxItems, 'entry', 'entries')}`,
    maxProperties === undefined ? [] : `at most ${maxProperties} members`,
    // An example says more than a pattern.
    examples !== undefined ? `e.g. ${examples.map(code).join(', ')}` : pattern === undefined ? [] : `\`${pattern}\``,
  ].flat();
  return bounds.length === 0 ? '' : `; ${bounds.join(', ')}`;
}

/** A line for each field, those of objects and of lists of objects by their path. */
function rowsOf(schema: Schema, base = ''): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const fallback = field.default === undefined ? '' : code(field.default);
    const need = schema.required?.includes(name) ? 'required' : fallback;
    const cells = [`\`${base}${name}\``, typeOf(field) + boundsOf(field), need, field.description ?? ''];
    const row = cells.map((text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ');
    return [
      `| ${row} |`,
      ...rowsOf(field, `${base}${name}.`),
      ...(field.items === undefined ? [] : rowsOf(field.items, `${base}${name}[].`)),
    ];
  });
}

function table(schema: Schema): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map(table).join('\nor\n\n');
  const rows = rowsOf(schema);
  if (rows.length === 0) return 'Any members.\n';
  return `| field | type | default | meaning |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`;
}

const EFFECTS = {
  pure: 'computes only; it is computed again after a crash',
  idempotent: 'doing it twice is doing it once',
  keyed: 'repeated with the same idempotency key',
  external: 'repeated only where the step has `retries`',
} as const;

function actionText(connector: Connector, name: string, action: Action): string {
  const example = {
    use: `${connector.name}.${name}`,
    ...(connector.connection?.required && action.connection !== 'none' ? { connection: `my-${connector.name}` } : {}),
    with: action.example,
  };
  return `#### \`${connector.name}.${name}\`

${action.title}. Effect: **${action.effect}** (${EFFECTS[action.effect]}).

${table(schemaOf(action.params))}
\`\`\`json
${JSON.stringify(example)}
\`\`\`
`;
}

function subscriptionText(connector: Connector, name: string, subscription: Subscription): string {
  const example = {
    type: 'subscription',
    to: `${connector.name}.${name}`,
    ...(connector.connection?.required ? { connection: `my-${connector.name}` } : {}),
    with: subscription.example,
  };
  return `#### Subscription \`${connector.name}.${name}\`

${subscription.title}. Delivery: **${subscription.delivery}** ([subscriptions.md](subscriptions.md)).

${table(schemaOf(subscription.params))}
\`\`\`json
${JSON.stringify(example)}
\`\`\`
`;
}

function connectionText({ connection, actions }: Connector): string {
  if (connection === undefined) return 'Takes no connection.';
  const without = Object.values(actions).some((action) => action.connection === 'none');
  const need = connection.required ? (without ? 'required where the example has one' : 'required') : 'optional';
  return `A connection is ${need}. Its settings:

${table(schemaOf(connection.settings))}
Its secrets, which are never read back:

${table(schemaOf(connection.secrets))}`;
}

function connectorText(connector: Connector): string {
  const actions = Object.entries(connector.actions).map(([name, action]) => actionText(connector, name, action));
  const subscriptions = Object.entries(connector.subscriptions ?? {}).map(([name, item]) =>
    subscriptionText(connector, name, item),
  );
  const parts = [...actions, ...subscriptions].join('\n');
  return `### ${connector.title} (\`${connector.name}\`)\n\n${connectionText(connector)}\n\n${parts}`;
}

const triggerText = ([name, schema]: readonly [string, GenericSchema]): string =>
  `### \`${name}\`\n\n${schemaOf(schema).description ?? ''}\n\n${table(schemaOf(schema))}`;

const FLOW_CONTROL = `\`concurrency\`, \`throttle\`, \`debounce\`, \`idempotency\`, \`order\` and \`priority\` make the runs of a durable chain wait, leave them out or put them in order. A run that waits for its turn is \`queued\`; one that is left out ends as \`cancelled\`, and its error says why: \`run.dropped\` or \`run.superseded\`. A key is a text with at least one expression; each of its values is counted by itself. Runs are spread over the gateway by key where all keys of the chain are the same text. How it works: [design/flow-control.md](design/flow-control.md).`;

const EXPRESSIONS = `\`{{ … }}\` in a text holds an expression in [JSONata](https://docs.jsonata.org/). How they are evaluated: [design/expressions.md](design/expressions.md).

- **Roots**: \`trigger\` (\`name\`, \`type\`, \`params\`, \`query\`, \`headers\`, \`body\`, \`receivedAt\`), \`input\`, \`steps.<id>\` (the output of a step), \`run\` (\`id\`, \`startedAt\`, \`now\`) and \`chain\` (\`name\`, \`version\`). The \`input\` of a trigger sees \`trigger\`, \`run.now\` and \`chain.name\`.
- **Types**: a text that is one expression as a whole keeps the expression's type; in a mixed text everything becomes text.
- **Order**: a step waits for the steps that its expressions refer to.
- **Missing values** are errors that name the reference. \`{{ input.note? }}\` may be missing and then leaves out its field; \`{{ input.note ?? 'none' }}\` has a default.
- **Failed steps**: \`steps.<id>\` of a step that failed and did not stop the run is \`{ "error": { "code", "message", "data" } }\`. A skipped step is missing.
- **Conditions** (\`if\`, \`when\`) are one expression as a whole.
- **Time**: \`$now()\` and \`$millis()\` are the time at which the run was accepted.
- **Bounds**: ${LIMITS.expressionCharacters} characters and ${LIMITS.expressionMilliseconds} ms for one expression. \`$eval\` is not there.
- **Braces**: a literal \`{{\` is written \`{{ '{{' }}\`.`;

const contents = connectors.map(
  ({ name, title }) => `[${title}](#${`${title} ${name}`.toLowerCase().replaceAll(' ', '-')})`,
);

const reference = `# Chains

Generated from the schemas by \`npm run docs\`. A chain is a JSON document of at most ${LIMITS.chainDocumentBytes / 1024} KiB; [chain.schema.json](chain.schema.json) gives completion in an editor. How it is compiled and what runs: [design/chains.md](design/chains.md).

## The document

${table(schemaOf(chainSchema))}

Names of steps and triggers are letters, digits, \`_\` and \`-\`, begin with a letter and have at most 64 characters; names that JavaScript reserves, such as \`constructor\`, are refused. Durations are a whole number and one of \`ms\`, \`s\`, \`m\`, \`h\`, \`d\`.

## Triggers

${Object.entries(TRIGGERS).map(triggerText).join('\n')}

## Flow control

${FLOW_CONTROL}

## Steps

${table(schemaOf(stepSchema))}

## Expressions

${EXPRESSIONS}

## Actions

${contents.join(' · ')}

${connectors.map(connectorText).join('\n')}`;

const gatewayReference = `# Routes and upstreams: reference

Generated from the schemas by \`npm run docs\`; [routes.md](routes.md) tells how they are used. [route.schema.json](route.schema.json) and [upstream.schema.json](upstream.schema.json) give completion in an editor. Durations are a whole number and one of \`ms\`, \`s\`, \`m\`, \`h\`, \`d\`.

## A route

${table(schemaOf(routeSchema))}

## A version of a route

${table(schemaOf(versionSchema))}

## An upstream

${table(schemaOf(upstreamSchema))}`;

const published = (name: string, schema: GenericSchema): string =>
  JSON.stringify(
    {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: `https://tidegate.dev/schema/${name}.json`,
      ...schemaOf(schema),
    },
    null,
    2,
  );

const files: readonly (readonly [string, string, string])[] = [
  ['docs/chains.md', reference, 'markdown'],
  ['docs/routes-reference.md', gatewayReference, 'markdown'],
  ['docs/chain.schema.json', published('chain', chainSchema), 'json'],
  ['docs/route.schema.json', published('route', routeSchema), 'json'],
  ['docs/upstream.schema.json', published('upstream', upstreamSchema), 'json'],
  ['docs/sources.md', sourcesDocument((settings) => table(schemaOf(settings))), 'markdown'],
];
const root = resolve(import.meta.dirname, '..');
for (const [path, text, parser] of files) {
  const full = resolve(root, path);
  const made = await prettier.format(text, { ...(await prettier.resolveConfig(full)), parser });
  const kept = existsSync(full) ? readFileSync(full, 'utf8') : '';
  if (kept === made) continue;
  if (process.argv.includes('--check')) {
    console.error(`${path} is not what the schemas say. Run: npm run docs`);
    process.exitCode = 1;
  } else writeFileSync(full, made);
}
