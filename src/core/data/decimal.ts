/**
 * Decimal numbers without rounding. A number counts as the decimal that it is written as: 0.1 is one tenth.
 * A text of digits counts too, because databases give `numeric` and large integers so.
 */

import { LIMITS } from '../limits.ts';

/** `digits` / 10^`scale`. */
export interface Decimal {
  readonly digits: bigint;
  readonly scale: number;
}

const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,4}))?$/;

/** Undefined for whatever is no finite number and no text of one. */
export function decimalOf(value: unknown): Decimal | undefined {
  if (Number.isSafeInteger(value)) return { digits: BigInt(value as number), scale: 0 };
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || text.length > LIMITS.dataDecimalCharacters) return undefined;
  const match = DECIMAL.exec(text);
  if (match === null) return undefined;
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match;
  const scale = fraction.length - Number(exponent);
  // A text could ask for a number of 10,000 digits.
  if (Math.abs(scale) > LIMITS.dataDecimalCharacters) return undefined;
  const digits = BigInt(`${sign}${whole}${fraction}`);
  return scale >= 0 ? { digits, scale } : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}

/** Adds in steps of constant cost: the sums of each scale are put together only at the end. */
export class DecimalSum {
  readonly #byScale = new Map<number, bigint>();
  #safe = 0;

  /** Whether it takes more memory from now on, about as much as the value. */
  add(value: Decimal | number): boolean {
    if (typeof value === 'number') {
      const sum = this.#safe + value;
      if (!Number.isSafeInteger(sum)) return this.add({ digits: BigInt(value), scale: 0 });
      this.#safe = sum;
      return false;
    }
    const { size } = this.#byScale;
    this.#byScale.set(value.scale, (this.#byScale.get(value.scale) ?? 0n) + value.digits);
    return this.#byScale.size > size;
  }

  total(): Decimal {
    const scale = Math.max(0, ...this.#byScale.keys());
    let digits = BigInt(this.#safe) * 10n ** BigInt(scale);
    for (const [part, sum] of this.#byScale) digits += sum * 10n ** BigInt(scale - part);
    return { digits, scale };
  }
}

export function textOfDecimal({ digits, scale }: Decimal): string {
  const sign = digits < 0n ? '-' : '';
  const all = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, '0');
  const whole = all.slice(0, all.length - scale);
  const fraction = all.slice(all.length - scale).replace(/0+$/, '');
  return fraction === '' ? `${sign}${whole}` : `${sign}${whole}.${fraction}`;
}

/** Whether one is a whole multiple of the other, which is not 0. */
export function isMultiple(value: Decimal, step: Decimal): boolean {
  const scale = Math.max(value.scale, step.scale);
  const raised = ({ digits, scale: own }: Decimal): bigint => digits * 10n ** BigInt(scale - own);
  return raised(value) % raised(step) === 0n;
}

/** Rounded once, to 34 digits behind the point (those of a decimal128), and so to any double exactly enough. */
export const divide = ({ digits, scale }: Decimal, count: number): Decimal => ({
  digits: (digits * 10n ** 34n) / BigInt(count),
  scale: scale + 34,
});
