/**
 * The signature schemes that sources may name. Facts are the vendors' own; where a vendor signs neither
 * an id nor a timestamp, nothing but the body tells one delivery from another.
 */

import type { Scheme } from '../scheme.ts';
import { CLOUDS } from './clouds.ts';
import { COMMERCE } from './commerce.ts';
import { DEVELOPMENT } from './development.ts';
import { GENERIC } from './generic.ts';
import { MESSAGING } from './messaging.ts';
import { withoutSettings, type SchemeRow } from './row.ts';
import { STANDARD } from './standard.ts';
import { WORKSPACE } from './workspace.ts';

const TABLES: readonly Readonly<Record<string, Scheme | SchemeRow>>[] = [
  STANDARD,
  COMMERCE,
  DEVELOPMENT,
  MESSAGING,
  WORKSPACE,
  CLOUDS,
  GENERIC,
];

export const SCHEMES: ReadonlyMap<string, SchemeRow> = new Map(
  TABLES.flatMap((table) => Object.entries(table)).map(([name, row]) => [
    name,
    'proof' in row ? withoutSettings(row) : row,
  ]),
);
