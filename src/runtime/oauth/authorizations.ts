/**
 * Authorizations that are under way, inside the object of their connection.
 *
 * Guarantee: a code is redeemed only by the browser that asked for it (its cookie), for a state that this object
 * gave and that was not seen before, with the verifier of PKCE that belongs to it, and at the server that it was
 * asked of (RFC 9207). Whatever of it is wrong, the state is spent.
 * Accepted weakness: all servers send people back to one address; a server that does not name itself could be mixed
 * up with another that somebody set up in bad faith as a connection of this gateway.
 */

import * as v from 'valibot';
import { READER, type LoadedClient, type Place } from './place.ts';
import type { PendingFacts, TokenStore } from './token-store.ts';
import { vaultOf } from '../configuration.ts';
import { fail, faultOf, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { errorCodeOf, type TokenGrant } from '../../core/oauth/tokens.ts';
import { authorizationUrl, isFrom, redeemCode, redeemDevice, startDevice } from '../../drivers/oauth/authorize.ts';
import type { OAuthPort, Server } from '../../drivers/oauth/server.ts';
import type { Env } from '../../env.ts';
import { sha256, toBase64Url } from '../../vault/bytes.ts';
import { equalSecrets } from '../../vault/compare.ts';
import { createStateLinks } from '../../vault/links.ts';
import { tokenContext } from '../../vault/vault.ts';

export interface Begin {
  readonly session: { readonly id: string; readonly expiresAt: number };
  readonly redirectUri: string;
  readonly returnUrl: string | undefined;
  readonly actor: string;
}

export interface Begun {
  /** Where the browser goes. */
  readonly url: string;
  /** What the browser has to show when it comes back, and the name under which it keeps it. */
  readonly id: string;
  readonly browser: string;
}

export interface Callback {
  readonly id: string;
  readonly browser: string | undefined;
  readonly code: string | undefined;
  readonly error: string | undefined;
  readonly iss: string | undefined;
}

export interface Completed {
  /** As whoever made the link gave it. */
  readonly returnUrl: string | undefined;
}

/** What somebody is told who is to authorize on another device. */
export interface DeviceCode {
  readonly userCode: string;
  readonly verificationUri: string;
  readonly verificationUriComplete: string | undefined;
  /** Unix milliseconds. */
  readonly expiresAt: number;
}

/** What the object does for its authorizations. */
interface Owner {
  load(place: Place): Promise<Result<LoadedClient>>;
  server(client: LoadedClient): Promise<Result<Server>>;
  save(place: Place, client: LoadedClient, grant: TokenGrant, actor: string): Promise<Result<void>>;
}

const verifierSchema = v.object({ verifier: v.string() });
const deviceSchema = v.object({ deviceCode: v.string() });
type CodeFacts = Extract<PendingFacts, { kind: 'code' }>;

const spent = (): Result<never> =>
  fail('oauth.state', 'This authorization was completed before, has expired, or was begun elsewhere. Begin again.');

export class Authorizations {
  readonly #env: Env;
  readonly #storage: DurableObjectStorage;
  readonly #store: TokenStore;
  readonly #port: OAuthPort;
  readonly #owner: Owner;

  constructor(env: Env, storage: DurableObjectStorage, store: TokenStore, port: OAuthPort, owner: Owner) {
    this.#env = env;
    this.#storage = storage;
    this.#store = store;
    this.#port = port;
    this.#owner = owner;
  }

  /** Faults `oauth.state` for a session that was used, `connection.*`, `oauth.*`. */
  async begin(place: Place, { session, redirectUri, returnUrl, actor }: Begin): Promise<Result<Begun>> {
    const found = await this.#clientFor(place, 'authorization_code');
    if (!found.ok) return found;
    const { client, server } = found.value;
    const links = createStateLinks(this.#env.TIDEGATE_MASTER_KEY);
    const vault = vaultOf(this.#env);
    if (!links.ok) return links;
    if (!vault.ok) return vault;
    const [id, verifier, browser] = [this.#port.randomId(), this.#port.randomId(), this.#port.randomId()];
    const state = await links.value.sign({ tenant: place.tenant, connection: place.name, id });
    const challenge = toBase64Url(await sha256(verifier));
    const url = authorizationUrl(client, server, { state, challenge, redirectUri });
    if (!url.ok) return url;
    const sealed = await vault.value.seal(tokenContext(place.tenant, place.name), { verifier });
    const facts: CodeFacts = {
      kind: 'code',
      fingerprint: client.fingerprint,
      redirectUri,
      browser: toBase64Url(await sha256(browser)),
      ...(server.issuer !== undefined && { issuer: server.issuer }),
      namesItself: server.namesItself,
      ...(returnUrl !== undefined && { returnUrl }),
      actor,
    };
    const now = this.#port.now();
    // From here on without waiting, so that of two who come with the same session one begins.
    if (!this.#store.useSession(session.id, session.expiresAt, now)) return spent();
    const expiresAt = now + LIMITS.authorizationMilliseconds;
    this.#store.addPending(id, { facts, sealed, expiresAt }, now, LIMITS.authorizationsAtOnce);
    return ok({ url: url.value, id, browser });
  }

  /** Faults `oauth.state`, `oauth.failed` with what the server said, `connection.*`. */
  async complete(place: Place, { id, browser, code, error, iss }: Callback): Promise<Result<Completed>> {
    const pending = this.#store.takePending(id);
    if (pending?.facts.kind !== 'code' || pending.expiresAt < this.#port.now()) return spent();
    const { facts, sealed } = pending;
    const shown = toBase64Url(await sha256(browser ?? ''));
    if (browser === undefined || !(await equalSecrets(shown, facts.browser))) return spent();
    if (!isFrom({ issuer: facts.issuer, namesItself: facts.namesItself }, iss)) {
      return fail('oauth.state', 'The answer comes from another authorization server than the one that was asked.');
    }
    if (error !== undefined) return fail('oauth.failed', 'The authorization server did not authorize the connection.');
    if (code === undefined || code === '') return fail('oauth.state', 'The answer has no code.');
    const found = await this.#clientFor(place, 'authorization_code');
    if (!found.ok) return found;
    const { client, server } = found.value;
    if (client.fingerprint !== facts.fingerprint) {
      return fail('oauth.state', 'The connection was changed meanwhile. Begin again.');
    }
    const secrets = await this.#unseal(place, sealed, verifierSchema);
    if (!secrets.ok) return secrets;
    const { verifier } = secrets.value;
    const granted = await attempt(() =>
      redeemCode(client, server, this.#port, { code, verifier, redirectUri: facts.redirectUri }),
    );
    if (!granted.ok) return granted;
    const saved = await this.#owner.save(place, client, granted.value, facts.actor);
    return saved.ok ? ok({ returnUrl: facts.returnUrl }) : saved;
  }

  /** RFC 8628; the object asks by its alarm until somebody has decided. */
  async startDevice(place: Place, actor: string): Promise<Result<DeviceCode>> {
    const found = await this.#clientFor(place, 'device_code');
    if (!found.ok) return found;
    const { client, server } = found.value;
    const vault = vaultOf(this.#env);
    if (!vault.ok) return vault;
    const started = await attempt(() => startDevice(client, server, this.#port));
    if (!started.ok) return started;
    const { deviceCode, expiresAt, intervalMilliseconds, ...device } = started.value;
    const sealed = await vault.value.seal(tokenContext(place.tenant, place.name), { deviceCode });
    const facts = { kind: 'device' as const, ...place, fingerprint: client.fingerprint, intervalMilliseconds, actor };
    const now = this.#port.now();
    this.#store.saveDevice({ facts, sealed, expiresAt }, now, LIMITS.authorizationsAtOnce);
    await this.#storage.setAlarm(now + intervalMilliseconds);
    return ok({ ...device, expiresAt });
  }

  /** RFC 8628, section 3.5. */
  async pollDevice(): Promise<void> {
    const pending = this.#store.device();
    if (pending === undefined) return;
    const { facts, sealed, expiresAt } = pending;
    const place: Place = { tenant: facts.tenant, name: facts.name };
    const again = async (intervalMilliseconds: number): Promise<void> => {
      const now = this.#port.now();
      if (now + intervalMilliseconds >= expiresAt) return this.#store.removeDevice();
      const next = { ...facts, intervalMilliseconds };
      if (intervalMilliseconds !== facts.intervalMilliseconds) {
        this.#store.saveDevice({ facts: next, sealed, expiresAt }, now, LIMITS.authorizationsAtOnce);
      }
      await this.#storage.setAlarm(now + intervalMilliseconds);
    };
    const found = await this.#clientFor(place, 'device_code');
    const secrets = await this.#unseal(place, sealed, deviceSchema);
    if (!found.ok && found.fault.retryable) return again(facts.intervalMilliseconds);
    if (!found.ok || !secrets.ok || found.value.client.fingerprint !== facts.fingerprint) {
      return this.#store.removeDevice();
    }
    const { client, server } = found.value;
    const granted = await attempt(() => redeemDevice(client, server, this.#port, secrets.value.deviceCode));
    if (granted.ok) {
      await this.#owner.save(place, client, granted.value, facts.actor);
      return this.#store.removeDevice();
    }
    const error = errorCodeOf(granted.fault);
    const longest = LIMITS.devicePollLongestSeconds * 1000;
    const slower = Math.min(facts.intervalMilliseconds + LIMITS.devicePollSeconds * 1000, longest);
    if (error === 'slow_down') return again(slower);
    if (error === 'authorization_pending' || granted.fault.retryable) return again(facts.intervalMilliseconds);
    this.#store.removeDevice();
  }

  async #clientFor(
    place: Place,
    grant: 'authorization_code' | 'device_code',
  ): Promise<Result<{ readonly client: LoadedClient; readonly server: Server }>> {
    const client = await this.#owner.load(place);
    if (!client.ok) return client;
    if (client.value.settings.grant !== grant) {
      return fail('connection.invalid', `The connection ${place.name} does not use the grant ${grant}.`);
    }
    const server = await this.#owner.server(client.value);
    return server.ok ? ok({ client: client.value, server: server.value }) : server;
  }

  async #unseal<T>(place: Place, sealed: string, schema: v.GenericSchema<unknown, T>): Promise<Result<T>> {
    const vault = vaultOf(this.#env);
    if (!vault.ok) return vault;
    const opened = await vault.value.open(tokenContext(place.tenant, place.name), sealed, READER);
    return opened.ok ? ok(v.parse(schema, opened.value)) : opened;
  }
}

/** What signs an assertion can only throw. */
async function attempt<T>(work: () => Promise<Result<T>>): Promise<Result<T>> {
  try {
    return await work();
  } catch (thrown) {
    return { ok: false, fault: faultOf(thrown) };
  }
}
