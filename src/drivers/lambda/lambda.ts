/**
 * The Invoke operation of AWS Lambda (API version 2015-03-31), signed by Signature Version 4 for each request.
 *
 * Guarantee: a function that failed is a fault, with what the function itself said as its data.
 */

import { Buffer } from 'node:buffer';
import { AwsV4Signer } from 'aws4fetch';
import { fail, ok, type Fault, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { exchange, jsonOf, refusal, textOf, type Incoming, type Wire } from '../kit/exchange.ts';

export interface LambdaAccount {
  readonly region: string;
  /** Default: that of the region. */
  readonly endpoint?: string | undefined;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface Invocation {
  /** A name or an ARN. */
  readonly function: string;
  /** A version or an alias. */
  readonly qualifier?: string | undefined;
  /** `Event` is queued by Lambda and not waited for; `DryRun` checks the permission and runs nothing. */
  readonly type: 'RequestResponse' | 'Event' | 'DryRun';
  readonly payload?: unknown;
  /** The last 4 KB of what the function logged; with `RequestResponse` only. */
  readonly logTail?: boolean | undefined;
  /** What the function reads in its client context under `custom`; with `RequestResponse` only. */
  readonly custom?: Readonly<Record<string, string>>;
}

export interface InvocationResult {
  /** Of `RequestResponse`. */
  readonly payload: unknown;
  readonly executedVersion: string | undefined;
  readonly log: string | undefined;
}

/** Faults: those of `exchange`; of {@link refusal} by status; `upstream.rejected` where the function itself failed. */
export async function invoke(
  account: LambdaAccount,
  wire: Wire,
  invocation: Invocation,
): Promise<Result<InvocationResult>> {
  const url = addressOf(account, invocation);
  if (url === undefined) return fail('connection.invalid', '`endpoint` is no absolute URL.');
  const body = JSON.stringify(invocation.payload ?? null);
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'x-amz-invocation-type': invocation.type,
    ...(invocation.logTail === true && { 'x-amz-log-type': 'Tail' }),
    ...(invocation.custom !== undefined && { 'x-amz-client-context': encode({ custom: invocation.custom }) }),
  };
  const signer = new AwsV4Signer({
    service: 'lambda',
    region: account.region,
    accessKeyId: account.accessKeyId,
    secretAccessKey: account.secretAccessKey,
    ...(account.sessionToken !== undefined && { sessionToken: account.sessionToken }),
    datetime: new Date(wire.now()).toISOString().replace(/[:-]|\.\d{3}/g, ''),
    method: 'POST',
    url: url.href,
    headers,
    body,
  });
  const signed = await signer.sign();
  const outgoing = { url: url.href, method: 'POST', headers: Object.fromEntries(signed.headers), body };
  const reply = await exchange(wire, outgoing);
  return reply.ok ? read(reply.value, wire.now()) : reply;
}

function addressOf({ region, endpoint }: LambdaAccount, { function: name, qualifier }: Invocation): URL | undefined {
  const domain = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
  const url = URL.parse(endpoint ?? `https://lambda.${region}.${domain}`);
  if (url === null) return undefined;
  const base = url.pathname.replace(/\/+$/, '');
  url.pathname = `${base}/2015-03-31/functions/${encodeURIComponent(name)}/invocations`;
  if (qualifier !== undefined) url.searchParams.set('Qualifier', qualifier);
  return url;
}

function read(reply: Incoming, now: number): Result<InvocationResult> {
  const { status, headers, bytes } = reply;
  if (status < 200 || status > 299) return { ok: false, fault: serviceFault(reply, now) };
  const payload = bytes.byteLength === 0 ? ok(null) : jsonOf('Lambda', textOf(bytes));
  if (!payload.ok) return payload;
  const executedVersion = headers.get('x-amz-executed-version') ?? undefined;
  const log = decode(headers.get('x-amz-log-result'));
  const failed = headers.get('x-amz-function-error');
  if (failed === null) return ok({ payload: payload.value, executedVersion, log });
  const error = isObject(payload.value) ? payload.value : {};
  const said = [error['errorType'], error['errorMessage']].filter((part) => typeof part === 'string');
  return fail('upstream.rejected', `The function failed${said.length === 0 ? '' : ': '}${said.join(': ')}.`, {
    data: { functionError: failed, error: payload.value, executedVersion, log },
  });
}

/** What the service says when it runs nothing; the type stands before the first colon of its header. */
function serviceFault(reply: Incoming, now: number): Fault {
  const type = reply.headers.get('x-amzn-errortype')?.split(':')[0];
  const body = jsonOf('Lambda', textOf(reply.bytes));
  const facts = body.ok && isObject(body.value) ? body.value : {};
  const message = facts['message'] ?? facts['Message'];
  const said = [type, message].filter((part) => typeof part === 'string').join(', ');
  return refusal('Lambda', reply, now, said === '' ? undefined : said.replace(/\.$/, ''), { type, message });
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64');

const decode = (base64: string | null): string | undefined =>
  base64 === null ? undefined : Buffer.from(base64, 'base64').toString();
