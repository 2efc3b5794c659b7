/**
 * Holds a JSON value against a JSON Schema and says what is wrong in the author's words, with the
 * nearest right name. It knows the keywords that valibot's schemas become; where it does not know one
 * it stays silent, because the action checks its evaluated parameters again.
 */

import { at, IssueList } from './issues.ts';
import { isReservedName, nearest, suggestion } from './names.ts';
import { isObject } from '../json.ts';

/** What is known of a value before the run: all of it, that it is some text, or nothing. */
export type Leaf = 'literal' | 'text' | 'anything';

export interface ConformOptions {
  /** Tells what a text will be once its expressions are evaluated. */
  readonly leaf: (text: string) => Leaf;
  /** Refuse keys such as `constructor` in objects whose keys are free. */
  readonly safeKeys: boolean;
}

type Schema = Record<string, unknown>;

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  null: 'null',
};

const typeOf = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value);
const wordOf = (type: string): string => TYPE_WORDS[type] ?? type;
const quote = (value: unknown): string => {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
};
const anyOfWords = (words: readonly string[]): string =>
  words.length < 2 ? (words[0] ?? '') : `${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}`;

/** Adds to `issues` what in `value` does not fit `schema`, with paths that begin with `path`. */
export function conform(
  value: unknown,
  schema: unknown,
  path: string,
  issues: IssueList,
  options: ConformOptions,
): void {
  new Conformance(schema, options).check(value, schema, path, issues);
}

class Conformance {
  readonly #root: unknown;
  readonly #options: ConformOptions;

  constructor(root: unknown, options: ConformOptions) {
    this.#root = root;
    this.#options = options;
  }

  check(value: unknown, given: unknown, path: string, issues: IssueList): void {
    const schema = this.#resolve(given);
    if (schema === undefined) return;
    const leaf = typeof value === 'string' ? this.#options.leaf(value) : 'literal';
    if (leaf === 'anything') return;

    for (const part of listOf(schema['allOf'])) this.check(value, part, path, issues);
    const alternatives = [...listOf(schema['anyOf']), ...listOf(schema['oneOf'])];
    if (alternatives.length > 0) this.#checkAlternatives(value, alternatives, path, issues);

    const types = typesOf(schema);
    if (types !== undefined && !types.some((type) => isOfType(value, type))) {
      issues.add(path, leaf === 'text' ? mixedText(types) : wrongType(value, types, schema));
      return;
    }
    if (leaf === 'text') return;
    const choices = choicesOf(schema);
    if (choices !== undefined && !choices.includes(value)) {
      issues.add(path, () => wrongChoice(value, choices));
    } else if (isEqual(schema['not'], {})) {
      issues.add(path, 'This field is not allowed here; remove it.');
    } else if (typeof value === 'string') checkText(value, schema, path, issues);
    else if (typeof value === 'number') checkNumber(value, schema, path, issues);
    else if (Array.isArray(value)) this.#checkList(value, schema, path, issues);
    else if (isObject(value)) this.#checkObject(value, schema, path, issues);
  }

  /** Follows `$ref` into `$defs`; undefined where nothing can be said. */
  #resolve(given: unknown): Schema | undefined {
    let schema = given;
    for (let hops = 0; isObject(schema) && typeof schema['$ref'] === 'string' && hops < 16; hops++) {
      const name = /^#\/\$defs\/([^/]+)$/.exec(schema['$ref'])?.[1]?.replaceAll('~1', '/').replaceAll('~0', '~');
      const definitions = isObject(this.#root) ? this.#root['$defs'] : undefined;
      schema =
        name !== undefined && isObject(definitions) && Object.hasOwn(definitions, name) ? definitions[name] : undefined;
    }
    if (schema === false) return { not: {} };
    return isObject(schema) ? schema : undefined;
  }

  #checkAlternatives(value: unknown, alternatives: readonly unknown[], path: string, issues: IssueList): void {
    const options = alternatives.map((option) => this.#resolve(option) ?? {});
    const key = isObject(value) ? this.#discriminator(options) : undefined;
    if (key !== undefined && isObject(value)) {
      this.#checkVariant(value, key, options, path, issues);
      return;
    }
    let closest: IssueList | undefined;
    const fitting = options.filter((option) => typesOf(option)?.some((type) => isOfType(value, type)) ?? true);
    for (const option of fitting) {
      const attempt = new IssueList();
      this.check(value, option, path, attempt);
      if (attempt.all.length === 0) return;
      if (closest === undefined || attempt.all.length < closest.all.length) closest = attempt;
    }
    if (closest !== undefined) issues.addAll(closest.all);
    else {
      const types = options.flatMap((option) => typesOf(option) ?? []);
      issues.add(path, this.#options.leaf(String(value)) === 'text' ? mixedText(types) : wrongType(value, types, {}));
    }
  }

  /** The key, such as `type`, whose constant tells the alternatives apart. */
  #discriminator(options: readonly Schema[]): string | undefined {
    const [first] = options;
    const keys = first !== undefined && isObject(first['properties']) ? Object.keys(first['properties']) : [];
    return keys.find((key) => options.every((option) => this.#constantsAt(option, key) !== undefined));
  }

  #constantsAt(option: Schema, key: string): readonly unknown[] | undefined {
    const property = this.#resolve(isObject(option['properties']) ? ownOf(option['properties'], key) : undefined);
    return property === undefined || !listOf(option['required']).includes(key) ? undefined : choicesOf(property);
  }

  #checkVariant(
    value: Record<string, unknown>,
    key: string,
    options: readonly Schema[],
    path: string,
    issues: IssueList,
  ): void {
    const tag = ownOf(value, key);
    if (typeof tag === 'string' && this.#options.leaf(tag) !== 'literal') return;
    const option = options.find((one) => this.#constantsAt(one, key)?.includes(tag));
    if (option !== undefined) this.check(value, option, path, issues);
    else {
      const choices = options.flatMap((one) => this.#constantsAt(one, key) ?? []);
      if (tag === undefined) issues.add(at(path, key), `"${key}" is missing. It is ${anyOfWords(choices.map(quote))}.`);
      else issues.add(at(path, key), () => wrongChoice(tag, choices));
    }
  }

  #checkList(value: readonly unknown[], schema: Schema, path: string, issues: IssueList): void {
    const { minItems, maxItems } = schema;
    if (typeof minItems === 'number' && value.length < minItems) {
      issues.add(path, `Needs at least ${minItems} ${minItems === 1 ? 'entry' : 'entries'}; it has ${value.length}.`);
    }
    if (typeof maxItems === 'number' && value.length > maxItems) {
      issues.add(path, `Takes at most ${maxItems} entries; it has ${value.length}.`);
    }
    const first = listOf(schema['prefixItems']);
    value.forEach((item, index) => {
      this.check(item, index < first.length ? first[index] : schema['items'], at(path, index), issues);
    });
  }

  #checkObject(value: Record<string, unknown>, schema: Schema, path: string, issues: IssueList): void {
    const properties = isObject(schema['properties']) ? schema['properties'] : {};
    const rest = schema['additionalProperties'];
    for (const [key, member] of Object.entries(value)) {
      if (Object.hasOwn(properties, key)) this.check(member, properties[key], at(path, key), issues);
      else if (rest === false) {
        const known = Object.keys(properties);
        issues.add(at(path, key), () => `There is no field "${key}" here.${suggestion(key, known)}`);
      } else {
        this.#checkKey(key, schema['propertyNames'], at(path, key), issues);
        this.check(member, rest, at(path, key), issues);
      }
    }
    for (const key of listOf(schema['required'])) {
      if (typeof key !== 'string' || Object.hasOwn(value, key)) continue;
      const about = this.#resolve(ownOf(properties, key))?.['description'];
      issues.add(at(path, key), `"${key}" is missing.${typeof about === 'string' ? ` ${about}` : ''}`);
    }
    const { maxProperties } = schema;
    if (typeof maxProperties === 'number' && Object.keys(value).length > maxProperties) {
      issues.add(path, `Takes at most ${maxProperties} entries; it has ${Object.keys(value).length}.`);
    }
  }

  #checkKey(key: string, schema: unknown, path: string, issues: IssueList): void {
    if (this.#options.safeKeys && isReservedName(key)) {
      issues.add(path, `The name "${key}" is reserved in JavaScript; choose another.`);
    } else if (schema !== undefined) this.check(key, schema, path, issues);
  }
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const ownOf = (object: Record<string, unknown>, key: string): unknown =>
  Object.hasOwn(object, key) ? object[key] : undefined;

function typesOf(schema: Schema): readonly string[] | undefined {
  const { type } = schema;
  if (typeof type === 'string') return [type];
  return Array.isArray(type) ? type.filter((one) => typeof one === 'string') : undefined;
}

/** The values that `const` or `enum` allow, where those are plain. */
function choicesOf(schema: Schema): readonly unknown[] | undefined {
  const choices = Object.hasOwn(schema, 'const') ? [schema['const']] : listOf(schema['enum']);
  return choices.length > 0 && choices.every((choice) => typeof choice !== 'object' || choice === null)
    ? choices
    : undefined;
}

const isOfType = (value: unknown, type: string): boolean =>
  type === 'integer' ? Number.isInteger(value) : typeOf(value) === type;

const isEqual = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

const mixedText = (types: readonly string[]): string =>
  `Must be ${anyOfWords(types.map(wordOf))}; a text around an expression always gives text. Write the expression alone: "{{ … }}".`;

function wrongType(value: unknown, types: readonly string[], schema: Schema): string {
  const got = typeof value === 'number' && types.includes('integer') ? quote(value) : wordOf(typeOf(value));
  return `Must be ${anyOfWords(types.map(wordOf))}, not ${got}.${exampleOf(schema)}`;
}

function wrongChoice(value: unknown, choices: readonly unknown[]): string {
  const near =
    typeof value === 'string'
      ? nearest(
          value,
          choices.filter((choice) => typeof choice === 'string'),
        )
      : undefined;
  const hint = near === undefined ? '' : ` Did you mean "${near}"?`;
  return `Must be ${anyOfWords(choices.map(quote))}, not ${quote(value)}.${hint}`;
}

const exampleOf = (schema: Schema): string => {
  const examples = listOf(schema['examples']);
  return examples.length === 0 ? '' : ` Right would be ${anyOfWords(examples.map(quote))}.`;
};

function checkText(value: string, schema: Schema, path: string, issues: IssueList): void {
  const { minLength, maxLength, pattern } = schema;
  const length = Array.from(value).length;
  if (typeof minLength === 'number' && length < minLength) {
    issues.add(path, minLength === 1 ? 'Must not be empty.' : `Must have at least ${minLength} characters.`);
  } else if (typeof maxLength === 'number' && length > maxLength) {
    issues.add(path, `Must have at most ${maxLength} characters; it has ${length}.`);
  } else if (typeof pattern === 'string' && !new RegExp(pattern, 'u').test(value)) {
    issues.add(
      path,
      `${quote(value)} does not have the right form.${exampleOf(schema) || ` It must match ${pattern}.`}`,
    );
  }
}

function checkNumber(value: number, schema: Schema, path: string, issues: IssueList): void {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema;
  if (typeof minimum === 'number' && value < minimum) issues.add(path, `Must be at least ${minimum}.`);
  else if (typeof maximum === 'number' && value > maximum) issues.add(path, `Must be at most ${maximum}.`);
  else if (typeof exclusiveMinimum === 'number' && value <= exclusiveMinimum) {
    issues.add(path, `Must be more than ${exclusiveMinimum}.`);
  } else if (typeof exclusiveMaximum === 'number' && value >= exclusiveMaximum) {
    issues.add(path, `Must be less than ${exclusiveMaximum}.`);
  }
}
