/** `data.*`: shaping, checking, signing and encrypting values. */

import * as v from 'valibot';
import { convertAction } from './convert.ts';
import { itemActions } from './items.ts';
import { connection } from './keys.ts';
import { applyMapping } from './mapping.ts';
import { tokenActions } from './tokens.ts';
import { tableOf } from '../kit/table.ts';
import { defineAction, type Connector } from '../kit/types.ts';
import { compileJsonSchema } from '../../core/data/json-schema.ts';
import { fail, ok } from '../../core/errors.ts';

export const data: Connector = {
  name: 'data',
  title: 'Data',
  // The keys with which it signs and encrypts. They go nowhere.
  connection: { required: true, ...connection, origins: () => [] },
  actions: {
    map: defineAction({
      title: 'Map values to a new shape',
      effect: 'pure',
      connection: 'none',
      // Any member is allowed, and `unknown` copies nothing: mostly the output is the very same object.
      params: v.unknown(),
      example: { id: 'order-1', skus: { jsonpath: '$.items[*].sku' } },
      run: (params, { input, written }) => ok(applyMapping(params, written, input)),
    }),
    validate: defineAction({
      title: 'Check a value against a JSON Schema',
      effect: 'pure',
      connection: 'none',
      params: v.strictObject({
        value: v.unknown(),
        schema: v.pipe(v.unknown(), v.description('JSON Schema 2020-12, or draft 7 where `$schema` says so.')),
        schemas: v.optional(
          v.pipe(tableOf(v.unknown()), v.description('Other schemas that `$ref` may lead to, by their URIs.')),
        ),
        formats: v.optional(
          v.pipe(v.boolean(), v.description('Whether `format` decides (default) or only describes.')),
        ),
      }),
      example: { value: { id: 'order-1' }, schema: { type: 'object', required: ['id'] } },
      run({ value, schema, schemas, formats }) {
        const isPlain = schemas === undefined && formats !== false;
        const validate = compileJsonSchema(
          schema,
          isPlain ? undefined : { schemas, assertsFormats: formats !== false },
        );
        if (!validate.ok) {
          const { message, issues = [] } = validate.fault;
          return fail('step.params', `schema: ${message}`, { issues });
        }
        const issues = validate.value(value);
        if (issues.length === 0) return ok(value);
        const [first] = issues;
        const where = first === undefined || first.path === '' ? 'value' : `value.${first.path}`;
        return fail('data.invalid', `${where}: ${first?.message ?? 'Does not match the schema.'}`, { issues });
      },
    }),
    convert: convertAction,
    ...itemActions,
    ...tokenActions,
  },
};
