import { expect, it } from 'vitest';
import { createScram } from '../../../src/drivers/mongodb/scram.ts';

const NONCE = 'rOprNGfwEbeRWgbNEkqO';
const CHALLENGE = `r=${NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;
const OUTCOME = 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=';

it('SCRAM-SHA-256 gives what the example of RFC 7677 gives', async () => {
  const scram = createScram('user', 'pencil', NONCE);
  expect(scram.first).toBe(`n,,n=user,r=${NONCE}`);
  expect(await scram.final(CHALLENGE)).toEqual({
    ok: true,
    value: `c=biws,r=${NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`,
  });
  expect(scram.verify(OUTCOME)).toBe(true);
});

it('SCRAM believes no server that does not prove that it knows the password', async () => {
  const scram = createScram('user', 'pencil', NONCE);
  expect(scram.verify(OUTCOME)).toBe(false);
  await scram.final(CHALLENGE);
  for (const outcome of ['', 'v=', 'e=other-error', OUTCOME.replace('6r', '7r')]) {
    expect(scram.verify(outcome), outcome).toBe(false);
  }
});

it.each([
  ['a nonce that is not its own', CHALLENGE.replace(NONCE, 'another')],
  ['its own nonce, repeated', `r=${NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`],
  ['too few rounds', CHALLENGE.replace('4096', '4095')],
  ['rounds without end', CHALLENGE.replace('4096', '100001')],
  ['rounds that are no number', CHALLENGE.replace('4096', '4096x')],
  ['nothing', ''],
])('SCRAM proves nothing to a server that sends %s', async (_, challenge) => {
  const result = await createScram('user', 'pencil', NONCE).final(challenge);
  expect(result).toMatchObject({ ok: false, fault: { code: 'upstream.unauthorized' } });
});

it('SCRAM takes a password in whichever form Unicode has it, and escapes a user', async () => {
  const proofOf = (password: string) => createScram('user', password, NONCE).final(CHALLENGE);
  expect(await proofOf('Ⅸ\u00a0é')).toEqual(await proofOf('IX e\u0301\u00ad'));
  expect(await proofOf('a')).not.toEqual(await proofOf('b'));
  expect(createScram('a=b,c', 'x', NONCE).first).toBe(`n,,n=a=3Db=2Cc,r=${NONCE}`);
});
