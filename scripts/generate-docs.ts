/** `node scripts/generate-docs.ts [--check]`: the chain reference and the published JSON Schema, from the schemas. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { toJsonSchema } from '@valibot/to-json-schema';
import * as prettier from 'prettier';
import type { GenericSchema } from 'valibot';
import { connectors } from '../src/connectors/index.ts';
import type { Action, Connector } from '../src/connectors/kit/types.ts';
import { chainSchema, retriesSchema, stepSchema, TRIGGERS } from '../src/core/chain/document.ts';

interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
}

const schemaOf = (schema: GenericSchema): Schema =>
  toJsonSchema(schema, { typeMode: 'input', errorMode: 'ignore' }) as Schema;

function typeOf(schema: Schema): string {
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${JSON.stringify(value)}\``).join(', ');
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (alternatives !== undefined) return [...new Set(alternatives.map(typeOf))].join(' or ');
  if (schema.type === 'array') return `list of ${schema.items === undefined ? 'anything' : typeOf(schema.items)}`;
  if (schema.type === 'object' && schema.properties !== undefined) {
    const names = Object.keys(schema.properties).map((name) => (schema.required?.includes(name) ? name : `${name}?`));
    return `object { ${names.join(', ')} }`;
  }
  return schema.type === undefined ? 'anything' : String(schema.type);
}

function boundsOf({ minimum, maximum, minLength, maxLength }: Schema): string {
  const bounds = [
    minimum === undefined ? [] : `≥ ${minimum}`,
    maximum === undefined ? [] : `≤ ${maximum}`,
    minLength === undefined ? [] : `at least ${minLength} characters`,
    maxLength === undefined ? [] : `at most ${maxLength} characters`,
  ].flat();
  return bounds.length === 0 ? '' : ` (${bounds.join(', ')})`;
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

function table(schema: Schema): string {
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const need = schema.required?.includes(name) ? 'required' : 'optional';
    const fallback = field.default === undefined ? '' : ` Default: \`${JSON.stringify(field.default)}\`.`;
    return `| \`${name}\` | ${cell(typeOf(field) + boundsOf(field))} | ${need} | ${cell((field.description ?? '') + fallback)} |`;
  });
  return rows.length === 0
    ? '_Free form._\n'
    : `| field | type | | meaning |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`;
}

const EFFECTS = {
  pure: 'computes only; computed again after a crash',
  idempotent: 'doing it twice is doing it once',
  keyed: 'repeated with the same idempotency key',
  external: 'repeated only where the step has `retries`',
} as const;

function actionText(connector: Connector, name: string, action: Action): string {
  const example = {
    use: `${connector.name}.${name}`,
    ...(connector.connection?.required ? { connection: 'my-connection' } : {}),
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

function connectorText(connector: Connector): string {
  const facts = connector.connection;
  const connection =
    facts === undefined
      ? 'No connection.'
      : `Connection: ${facts.required ? 'required' : 'optional'}. Settings:\n\n${table(schemaOf(facts.settings))}\nSecrets (never read back): ${typeOf(schemaOf(facts.secrets)).replaceAll('|', '\\|')}.`;
  const actions = Object.entries(connector.actions).map(([name, action]) => actionText(connector, name, action));
  return `### ${connector.title} (\`${connector.name}\`)\n\n${connection}\n\n${actions.join('\n')}`;
}

const reference = `# Chains

Generated from the schemas by \`npm run docs\`. A chain is a JSON document; \`docs/chain.schema.json\` gives completion in an editor. How it is compiled and run: [design/chains.md](design/chains.md); expressions: [design/expressions.md](design/expressions.md).

## The document

${table(schemaOf(chainSchema))}

## Triggers

${Object.entries(TRIGGERS)
  .map(([name, schema]) => `### \`${name}\`\n\n${schemaOf(schema).description ?? ''}\n\n${table(schemaOf(schema))}`)
  .join('\n')}

## Steps

${table(schemaOf(stepSchema))}

### \`retries\`

${table(schemaOf(retriesSchema))}

## Expressions

\`{{ … }}\` holds JSONata over \`trigger.{name,type,params,query,headers,body,receivedAt}\`, \`input\`, \`steps.<id>\`, \`run.id\` and \`chain.{name,version}\`. A text that is one expression keeps the expression's type; in a mixed text it becomes text. A missing value is an error that names the reference, unless the expression ends with \`?\` or has a default (\`??\`). The value of a failed step is \`{ "error": { "code", "message", "data" } }\`.

## Actions

${connectors.map(connectorText).join('\n')}`;

const schema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $id: 'https://tidegate.dev/schema/chain.json',
  ...schemaOf(chainSchema),
};

const files: readonly (readonly [string, string, string])[] = [
  ['docs/chains.md', reference, 'markdown'],
  ['docs/chain.schema.json', JSON.stringify(schema), 'json'],
];
const root = resolve(import.meta.dirname, '..');
const style = (await prettier.resolveConfig(resolve(root, 'docs/chains.md'))) ?? {};
for (const [path, text, parser] of files) {
  const full = resolve(root, path);
  const made = await prettier.format(text, { ...style, parser });
  const kept = existsSync(full) ? readFileSync(full, 'utf8') : '';
  if (kept === made) continue;
  if (process.argv.includes('--check')) {
    console.error(`${path} is not what the schemas say. Run: npm run docs`);
    process.exitCode = 1;
  } else writeFileSync(full, made);
}
