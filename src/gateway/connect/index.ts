/**
 * The pages on which somebody who has no account here connects theirs: `/_/connect/<session>`, and
 * `/_/oauth/callback`, to which the authorization server sends them back.
 *
 * Guarantee: a session is signed, expires, and starts one authorization of one connection of one tenant. Opening
 * the page starts nothing, because previews and scanners open links, and the form counts only from the page itself.
 * Where people are sent is chosen by the connection and by whoever made the link, never by a request.
 * Accepted weakness: the session is a bearer link; who forwards it, forwards the right to connect an account.
 */

import { escape, page } from '../page.ts';
import { fault, faultOf, problemResponse, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { hostOf } from '../../core/url.ts';
import type { Env } from '../../env.ts';
import { loadClient, tokensOf, type Place } from '../../runtime/oauth/place.ts';
import { faultFrom } from '../../runtime/oauth/source.ts';
import { createConnectLinks, createStateLinks, type ConnectSession } from '../../vault/links.ts';

const CONNECT = '/_/connect/';
export const CALLBACK_PATH = '/_/oauth/callback';

export const isConnectPath = (path: string): boolean => path.startsWith(CONNECT) || path === CALLBACK_PATH;

export async function handleConnect(request: Request, env: Env, path: string): Promise<Response> {
  try {
    if (path === CALLBACK_PATH) return await complete(request, env);
    const session = await sessionOf(env, path.slice(CONNECT.length));
    if (!session.ok) return page(401, 'This link is not valid', 'It may have been cut off when it was copied.');
    if (request.method === 'GET' || request.method === 'HEAD') return await ask(env, session.value);
    if (request.method === 'POST') return await begin(request, env, session.value);
    return problemResponse(fault('request.method', 'A connect page takes GET and POST.'));
  } catch (thrown) {
    console.error('connect page failed', thrown);
    return problemResponse(faultOf(thrown));
  }
}

async function sessionOf(env: Env, token: string): Promise<Result<ConnectSession>> {
  const links = createConnectLinks(env.TIDEGATE_MASTER_KEY);
  return links.ok ? links.value.verify(token) : links;
}

const placeOf = ({ tenant, connection }: { readonly tenant: string; readonly connection: string }): Place => ({
  tenant,
  name: connection,
});

const gone = (): Response =>
  page(410, 'This link has been used or has expired', 'Ask whoever sent it to you for another one.');

async function ask(env: Env, session: ConnectSession): Promise<Response> {
  const place = placeOf(session);
  if (session.expiresAt < Date.now() || (await tokensOf(env, place).isUsed(session.id))) return gone();
  const client = await loadClient(env, place);
  if (!client.ok) return gone();
  const { issuer, endpoints, scopes = [] } = client.value.settings;
  const host = hostOf(issuer ?? endpoints?.authorization ?? '');
  const wanted = scopes.map((scope) => `<li><code>${escape(scope)}</code></li>`).join('');
  const body = `${wanted === '' ? '' : `<p>It will ask you to allow:</p><ul>${wanted}</ul>`}
<form method="post"><p><button>Continue to ${escape(host)}</button></p></form>`;
  const text = `You will sign in at ${host} and allow the gateway at ${hostOf(session.origin)} to use your account. Go on only if you were asked to by somebody you trust.`;
  return page(200, `Connect ${place.name}`, text, { body, headers: PAGE_HEADERS });
}

/** Other sites are told nothing of the address; this one is, without which the form has no `Origin`. */
const PAGE_HEADERS = { 'referrer-policy': 'same-origin' };

async function begin(request: Request, env: Env, session: ConnectSession): Promise<Response> {
  const { headers } = request;
  const fromHere = headers.get('sec-fetch-site') === 'same-origin' || headers.get('origin') === session.origin;
  if (!fromHere) return page(403, 'Open the link itself', 'This page takes no forms of other sites.');
  if (session.expiresAt < Date.now()) return gone();
  const reply = await tokensOf(env, placeOf(session)).begin(placeOf(session), {
    session: { id: session.id, expiresAt: session.expiresAt },
    redirectUri: session.origin + CALLBACK_PATH,
    returnUrl: session.returnUrl,
    actor: `connect page by ${session.actor}`,
  });
  if (!reply.ok) return reply.code === 'oauth.state' ? gone() : failed(502, reply.message);
  const { url, id, browser } = reply.value;
  // A redirect would be held to `form-action`, and with it each redirect that follows at the other side.
  const head = `<meta http-equiv="refresh" content="0;url=${escape(url)}">`;
  const body = `<p><a href="${escape(url)}" rel="noreferrer">Continue</a></p>`;
  const cookie = cookieOf(session.origin, id, browser, LIMITS.authorizationMilliseconds / 1000);
  return page(200, 'One moment', `You are being sent to ${hostOf(url)}.`, {
    head,
    body,
    headers: { 'set-cookie': cookie },
  });
}

/** Each authorization has a cookie of its own, so that two tabs do not get in each other's way. */
const cookieName = (origin: string, id: string): string =>
  `${origin.startsWith('https:') ? '__Secure-' : ''}tidegate-connect-${id.slice(0, 16)}`;

/** `Lax`, since the way back is a navigation from another site. */
function cookieOf(origin: string, id: string, value: string, seconds: number): string {
  const secure = origin.startsWith('https:') ? '; Secure' : '';
  return `${cookieName(origin, id)}=${value}; Path=${CALLBACK_PATH}; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure}`;
}

async function complete(request: Request, env: Env): Promise<Response> {
  if (request.method !== 'GET') return problemResponse(fault('request.method', 'The callback takes GET.'));
  const { searchParams: query } = new URL(request.url);
  const one = (name: string): string | undefined => query.get(name) ?? undefined;
  // Of two values this program and a server could each believe another one.
  const isDouble = ['state', 'code', 'iss', 'error'].some((name) => query.getAll(name).length > 1);
  const links = createStateLinks(env.TIDEGATE_MASTER_KEY);
  const state = links.ok ? await links.value.verify(one('state') ?? '') : links;
  if (!state.ok || isDouble)
    return failed(400, 'The answer of the authorization server does not belong to any question.');
  const place = placeOf(state.value);
  const { id } = state.value;
  const cookies = cookiesOf(request.headers.get('cookie') ?? '');
  const browser = cookies.get(cookieName('https:', id)) ?? cookies.get(cookieName('http:', id));
  const callback = { id, browser, code: one('code'), error: one('error'), iss: one('iss') };
  const reply = await tokensOf(env, place).complete(place, callback);
  if (!reply.ok) return failed(faultFrom(reply).code === 'oauth.state' ? 400 : 502, reply.message);
  const { returnUrl } = reply.value;
  const back =
    returnUrl === undefined ? '' : `<p><a href="${escape(returnUrl)}">Back to ${escape(hostOf(returnUrl))}</a></p>`;
  return page(200, 'Connected', `${place.name} is connected. You may close this page.`, { body: back });
}

const failed = (status: number, reason: string): Response => page(status, 'Not connected', reason);

function cookiesOf(header: string): ReadonlyMap<string, string> {
  const pairs = header.split(';').map((pair): [string, string] => {
    const [name = '', ...value] = pair.trim().split('=');
    return [name, value.join('=')];
  });
  return new Map(pairs);
}
