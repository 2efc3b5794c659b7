/** Trace context (W3C, level 1): continues the caller's trace, or begins one. */

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/;
/** Of version 00; a later one may have more behind the flags. */
const LENGTH = 55;

export interface Trace {
  readonly traceId: string;
  /** Of the caller, where it has one. */
  readonly parentId: string | undefined;
  /** Of what the gateway does. */
  readonly spanId: string;
  readonly sampled: boolean;
}

/**
 * @param header as the caller sent it; what cannot be read is as if there were none
 * @param randomHex 32 random digits of hex
 */
export function traceOf(header: string | null, randomHex: () => string): Trace {
  const readable = header !== null && (header.length === LENGTH || !header.startsWith('00'));
  const [, traceId, parentId, flags = ''] = readable ? (TRACEPARENT.exec(header) ?? []) : [];
  const spanId = randomHex().slice(0, 16);
  if (traceId === undefined) return { traceId: randomHex(), parentId: undefined, spanId, sampled: true };
  return { traceId, parentId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export const traceparentOf = ({ traceId, spanId, sampled }: Trace): string =>
  `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
