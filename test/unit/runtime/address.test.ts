import { describe, expect, it } from 'vitest';
import { addressOf, networkOf, UNKNOWN_ADDRESS } from '../../../src/runtime/address.ts';

const by = (headers: Record<string, string>, proxies?: string, cf?: Request['cf'], local = '') =>
  addressOf({
    headers: new Headers(headers),
    request: { ...(cf && { cf }) },
    env: { TIDEGATE_LOCAL: local, ...(proxies !== undefined && { TIDEGATE_TRUSTED_PROXIES: proxies }) },
  });
const platform = { colo: 'FRA' };

describe('the address of a caller', () => {
  it('is what the platform says, where the request came by it', () => {
    expect(by({ 'cf-connecting-ip': '203.0.113.9' }, undefined, platform)).toBe('203.0.113.9');
  });

  it.each(['cf-connecting-ip', 'x-forwarded-for', 'x-real-ip', 'forwarded', 'true-client-ip'])(
    'is not what a caller writes into %s on another machine',
    (name) => {
      expect(by({ [name]: '203.0.113.9' })).toBe(UNKNOWN_ADDRESS);
    },
  );

  it('is not what a caller writes on one machine, where it can write request.cf as well', () => {
    expect(by({ 'cf-connecting-ip': '203.0.113.9' }, undefined, platform, '1')).toBe(UNKNOWN_ADDRESS);
  });

  it('is never in X-Forwarded-For where no proxy is trusted', () => {
    const headers = { 'cf-connecting-ip': '203.0.113.9', 'x-forwarded-for': '198.51.100.1' };
    expect(by(headers, undefined, platform)).toBe('203.0.113.9');
    expect(by(headers, '0', platform)).toBe('203.0.113.9');
  });

  it('is what the outermost trusted proxy wrote, not what stands before it', () => {
    const headers = { 'x-forwarded-for': '192.0.2.66, 203.0.113.9, 198.51.100.1' };
    expect(by(headers, '1')).toBe('198.51.100.1');
    expect(by(headers, '2')).toBe('203.0.113.9');
    expect(by(headers, '4')).toBe(UNKNOWN_ADDRESS);
    expect(by({ 'x-forwarded-for': 'anything' }, '1')).toBe(UNKNOWN_ADDRESS);
  });
});

describe('the network that counts as one', () => {
  it.each([
    ['203.0.113.9', '203.0.113.9'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:DB8:0001:0002::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::ffff:203.0.113.9', '203.0.113.9'],
    ['64:ff9b::203.0.113.9', '64:ff9b:0:0::/64'],
  ])('of %s is %s', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });

  it.each([
    '',
    'localhost',
    '256.1.1.1',
    '1.2.3',
    '1.2.3.4.5',
    '1::2::3',
    '1:2:3',
    'g::1',
    '12345::',
    '1:2:3:4:5:6:7:8:9',
  ])('does not exist for %j', (text) => {
    expect(networkOf(text)).toBeUndefined();
  });
});
