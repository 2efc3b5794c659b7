/**
 * The page behind an approval link. Opening it decides nothing, because previews and scanners open links;
 * sending its form does, once.
 */

import { readBytes } from './body.ts';
import { escape, page } from './page.ts';
import { fault, faultOf, problemResponse } from '../core/errors.ts';
import type { Env } from '../env.ts';
import { decide, readRun } from '../runtime/runs.ts';
import { createLinks, type Decidable } from '../vault/links.ts';

export async function handleApproval(request: Request, env: Env, path: string): Promise<Response> {
  try {
    const links = createLinks(env.TIDEGATE_MASTER_KEY);
    if (!links.ok) return problemResponse(links.fault);
    const what = await links.value.verify(path.slice('/_/approvals/'.length));
    if (!what.ok) return page(401, 'This link is not valid', 'It may have been cut off when it was copied.');
    if (request.method === 'GET' || request.method === 'HEAD') return await ask(env, what.value);
    if (request.method === 'POST') return await answer(request, env, what.value);
    return problemResponse(fault('request.method', 'An approval takes GET and POST.', { allow: ['GET', 'POST'] }));
  } catch (thrown) {
    console.error('approval failed', thrown);
    return problemResponse(faultOf(thrown));
  }
}

const FORM_BYTES = 16 * 1024;

const DECIDED = 'It was decided already, its time is over, or its run has ended.';

async function ask(env: Env, { run, step, to }: Decidable): Promise<Response> {
  const record = await readRun(env, run);
  const waiting = record.ok && record.value.steps.some(({ waitingFor }) => waitingFor?.kind === 'approval');
  const isItem = typeof step === 'string';
  if (!record.ok || (!waiting && !isItem)) return page(410, 'Nothing to decide', DECIDED);
  const message = record.value.steps.find(({ waitingFor }) => waitingFor?.kind === 'approval')?.waitingFor?.message;
  const name =
    to === undefined
      ? '<label>Your name <input name="by" required maxlength="200" autocomplete="name"></label>'
      : `<p>For ${escape(to)}</p>`;
  const form = `<form method="post">${name}
<label>Comment <textarea name="comment" maxlength="2000" rows="3"></textarea></label>
<p><button name="decision" value="approve">Approve</button> <button name="decision" value="reject">Reject</button></p></form>`;
  return page(200, `Approval for ${record.value.chain}`, message ?? '', { body: form });
}

async function answer(request: Request, env: Env, { run, step, to }: Decidable): Promise<Response> {
  const bytes = await readBytes(request, FORM_BYTES);
  if (!bytes.ok) return problemResponse(bytes.fault);
  const form = new URLSearchParams(new TextDecoder().decode(bytes.value));
  const decision = form.get('decision');
  if (decision !== 'approve' && decision !== 'reject') {
    return problemResponse(fault('request.invalid', 'decision: Send "approve" or "reject".'));
  }
  const given = (name: string, longest: number): string | null => form.get(name)?.trim().slice(0, longest) || null;
  const approved = decision === 'approve';
  const decided = await decide(env, run, step, {
    approved,
    by: to ?? given('by', 200),
    comment: given('comment', 2_000),
    at: Date.now(),
  });
  if (!decided) return page(410, 'Nothing to decide', DECIDED);
  return page(200, approved ? 'Approved' : 'Rejected', 'Thank you. You may close this page.');
}
