import { Buffer } from 'node:buffer';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connect } from 'cloudflare:sockets';
import { mongodb } from '../../../src/connectors/mongodb/index.ts';
import { ok } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { inSession, type MongoTarget } from '../../../src/drivers/mongodb/session.ts';
import { actionsOf, faultOf, output, servers, written, type CallOptions, type Credentials } from './fixtures.ts';

const { hosts, database, authSource, tls, user, password, isStandIn, hostile } = servers.mongodb;
const credentials: Credentials = { settings: { hosts, database, authSource, tls }, secrets: { user, password } };
const call = actionsOf(mongodb, credentials);
const over = (settings: Record<string, unknown>, secrets: Record<string, unknown> = {}) =>
  actionsOf(mongodb, {
    settings: { ...credentials.settings, ...settings },
    secrets: { ...credentials.secrets, ...secrets },
  });
const run = (action: string, params: unknown, options?: CallOptions) => output(call(action, params, options));
const find = (filter: object = {}, collection = 'notes') => run('find', { collection, filter, sort: { _id: 1 } });

const target: MongoTarget = {
  hosts: hosts.map((text) => {
    const [hostname = '', port = '27017'] = text.split(':');
    return { hostname, port: Number(port) };
  }),
  database,
  authSource,
  user,
  password,
  tls,
};

/** The fail points of MongoDB's test commands. */
async function failing(commands: readonly string[], data: object, times = 1): Promise<void> {
  const set = await inSession(target, { connect: (address, how) => ok(connect(address, how)) }, (session) =>
    session.command(
      { configureFailPoint: 'failCommand', mode: { times }, data: { failCommands: commands, ...data } },
      'admin',
    ),
  );
  if (!set.ok) throw new Error(set.fault.message);
}

beforeEach(async () => {
  await run('deleteMany', { collection: 'notes', filter: {}, all: true });
});

describe('documents', () => {
  it('are created, read, updated and deleted, and counted', async () => {
    expect(await run('insertOne', { collection: 'notes', document: { _id: 1, text: 'first', tags: ['ä'] } })).toEqual({
      insertedId: 1,
    });
    const update = { $set: { text: 'changed' } };
    expect(await run('updateOne', { collection: 'notes', filter: { _id: 1 }, update })).toEqual({
      matched: 1,
      modified: 1,
      upsertedId: null,
    });
    expect(await find()).toEqual({ documents: [{ _id: 1, text: 'changed', tags: ['ä'] }], more: false });
    expect(await run('deleteOne', { collection: 'notes', filter: { _id: 1 } })).toEqual({ deleted: 1 });
    expect(await run('findOne', { collection: 'notes', filter: { _id: 1 } })).toEqual({ document: null });
  });

  it('get an identifier where they have none, by which they are found again', async () => {
    const inserted = await run('insertOne', { collection: 'notes', document: { text: 'x' } });
    const { insertedId } = inserted as { insertedId: unknown };
    expect(insertedId).toEqual({ $oid: expect.stringMatching(/^[0-9a-f]{24}$/) });
    expect(await find({ _id: insertedId as object })).toMatchObject({ documents: [{ text: 'x' }] });
  });

  it('keep the value of every type', async () => {
    const document = {
      _id: { $oid: '65a1b2c3d4e5f60718293a4b' },
      when: { $date: '2026-01-02T03:04:05.678Z' },
      before: { $date: { $numberLong: '-62135596800000' } },
      price: { $numberDecimal: '12345678901234567890.0123456789' },
      big: { $numberLong: '9007199254740993' },
      whole: 5_000_000_000,
      half: 0.5,
      bytes: { $binary: { base64: 'AAEC/w==', subType: '00' } },
      uuid: { $binary: { base64: 'c//SZESzTGmQ6OfR38A11A==', subType: '04' } },
      stamp: { $timestamp: { t: 42, i: 1 } },
      least: { $minKey: 1 },
      pattern: { $regularExpression: { pattern: '^a', options: 'i' } },
      infinite: { $numberDouble: 'Infinity' },
      nested: { list: [1, null, { a: 'é🚀' }], yes: true, _bsontypes: 'x' },
    };
    await run('insertOne', { collection: 'notes', document });
    expect(await run('findOne', { collection: 'notes' })).toEqual({ document });
    // What one step read the next one looks for, through an expression.
    const filter = { when: '{{ steps.a.document.when }}', big: '{{ steps.a.document.big }}' };
    const params = { collection: 'notes', filter: { when: document.when, big: document.big } };
    const found = await run('findOne', params, { written: { collection: 'notes', filter } });
    expect(found).toMatchObject({ document: { _id: document._id } });
  });

  it('are found by projection, order, offset and limit, and it is told whether there are more', async () => {
    const documents = Array.from({ length: 2_500 }, (_, index) => ({ _id: index, text: `n${index}` }));
    expect(await run('insertMany', { collection: 'notes', documents })).toMatchObject({ inserted: 2_500 });
    const params = { collection: 'notes', filter: { _id: { $gte: 10 } }, projection: { _id: 1 }, sort: { _id: -1 } };
    expect(await run('find', { ...params, skip: 1, limit: 2 })).toEqual({
      documents: [{ _id: 2_498 }, { _id: 2_497 }],
      more: true,
    });
    const all = (await run('find', { collection: 'notes', limit: 2_500 })) as { documents: unknown[]; more: boolean };
    expect([all.documents.length, all.more]).toEqual([2_500, false]);
    const usual = (await run('find', { collection: 'notes' })) as { documents: unknown[]; more: boolean };
    expect([usual.documents.length, usual.more]).toEqual([LIMITS.mongoDocumentsUsual, true]);
    expect(await run('count', { collection: 'notes', filter: { _id: { $lt: 7 } } })).toEqual({ count: 7 });
    expect(await run('count', { collection: 'none' })).toEqual({ count: 0 });
  });

  it('are grouped by a pipeline, and their values listed', async () => {
    const documents = ['a', 'b', 'a'].map((kind, index) => ({ _id: index, kind, n: index + 1 }));
    await run('insertMany', { collection: 'notes', documents });
    const pipeline = [{ $group: { _id: '$kind', n: { $sum: '$n' } } }, { $sort: { _id: 1 } }];
    expect(await run('aggregate', { collection: 'notes', pipeline })).toEqual({
      documents: [
        { _id: 'a', n: 4 },
        { _id: 'b', n: 2 },
      ],
      more: false,
    });
    const { values } = (await run('distinct', { collection: 'notes', field: 'kind' })) as { values: string[] };
    expect(values.toSorted()).toEqual(['a', 'b']);
  });

  it('are replaced, made where there are none, and taken by one at a time', async () => {
    const replace = { collection: 'notes', filter: { _id: 7 }, document: { state: 'new' }, upsert: true };
    expect(await run('replaceOne', replace)).toEqual({ matched: 0, modified: 0, upsertedId: 7 });
    expect(await run('replaceOne', { ...replace, document: { state: 'waiting' } })).toMatchObject({ modified: 1 });
    const take = {
      collection: 'notes',
      filter: { state: 'waiting' },
      update: { $set: { state: 'taken' } },
      returnDocument: 'after',
    };
    expect(await run('findOneAndUpdate', take)).toEqual({ document: { _id: 7, state: 'taken' } });
    expect(await run('findOneAndUpdate', take)).toEqual({ document: null });
  });

  it('are written in bulk, in the order given', async () => {
    const statements = [
      { insert: { _id: 1, n: 1 } },
      { insert: { _id: 2, n: 1 } },
      { update: { filter: { n: 1 }, update: { $inc: { n: 1 } }, many: true } },
      { update: { filter: { _id: 3 }, update: { $set: { n: 9 } }, upsert: true } },
      { replace: { filter: { _id: 1 }, document: { n: 100 } } },
      { delete: { filter: { _id: 2 } } },
    ];
    expect(await run('bulkWrite', { collection: 'notes', statements })).toEqual({
      inserted: 2,
      insertedIds: [1, 2],
      matched: 3,
      modified: 3,
      deleted: 1,
      upserted: [{ index: 3, id: 3 }],
    });
    expect(await find()).toMatchObject({
      documents: [
        { _id: 1, n: 100 },
        { _id: 3, n: 9 },
      ],
    });
  });

  it('that fail in bulk tell which statement it was', async () => {
    const statements = [{ delete: { filter: { _id: 9 } } }, { insert: { _id: 1 } }, { insert: { _id: 1 } }];
    const fault = await faultOf(call('bulkWrite', { collection: 'notes', statements }), 'upstream.rejected');
    expect(fault).toMatchObject({ retryable: false, data: { code: 11_000, index: 2 } });
    const documents = [{ _id: 1 }, { _id: 2 }];
    await faultOf(call('insertMany', { collection: 'notes', documents, ordered: false }), 'upstream.rejected');
    expect(await run('count', { collection: 'notes' })).toEqual({ count: 2 });
  });
});

describe('commands', () => {
  beforeAll(async () => {
    await call('command', { command: { drop: 'keyed' } });
  });

  it('make indexes, which then hold', async () => {
    const indexes = [{ key: { mail: 1 }, name: 'mail', unique: true }];
    await run('command', { command: { createIndexes: 'keyed', indexes } });
    await run('insertOne', { collection: 'keyed', document: { mail: 'a@example.com' } });
    const again = call('insertOne', { collection: 'keyed', document: { mail: 'a@example.com' } });
    expect(await faultOf(again, 'upstream.rejected')).toMatchObject({ retryable: false, data: { code: 11_000 } });
    expect(await run('command', { command: { listIndexes: 'keyed' } })).toMatchObject({
      reply: { cursor: { firstBatch: [{ name: '_id_' }, { name: 'mail' }] } },
    });
  });

  it.each([
    { eval: '1' },
    { mapReduce: 'notes', map: 'function () {}', reduce: 'function () {}', out: 'x' },
    { find: 'notes' },
    { createUser: 'evil', pwd: 'x', roles: ['root'] },
    { shutdown: 1 },
    { drop: 'system.users' },
    { drop: 'notes', $db: 'admin' },
    { drop: 'notes', lsid: { id: 1 } },
    {},
  ])('refuse %o', async (command) => {
    await faultOf(call('command', { command }), 'step.params');
  });

  it('refuse a name that an expression gave', async () => {
    const written = { command: '{{ input.command }}' };
    await faultOf(call('command', { command: { drop: 'notes' } }, { written }), 'step.params');
    await run('command', { command: { ping: 1 } });
  });
});

describe('what an expression gives', () => {
  const secretNote = { _id: 1, name: 'ada', password: 'hidden' };
  beforeEach(() => run('insertOne', { collection: 'notes', document: secretNote }));

  it('is no operator', async () => {
    for (const password of [{ $gt: '' }, { $ne: null }, { $regex: '.*' }, { $in: ['hidden'] }, [{ $gt: '' }]]) {
      const written = { collection: 'notes', filter: { name: 'ada', password: '{{ input.password }}' } };
      const params = { collection: 'notes', filter: { name: 'ada', password } };
      const fault = await faultOf(call('findOne', params, { written }), 'step.params');
      expect(fault.message).toContain('filter.password');
      // The same, where the author wrote it, is one; but a list is compared as such.
      const asWritten = await run('findOne', params);
      if (!Array.isArray(password)) expect(asWritten).toMatchObject({ document: { _id: 1 } });
    }
  });

  it('is found as the text that it is', async () => {
    const text = '$password\'; return true; "{$gt: 1}';
    await run(
      'insertOne',
      { collection: 'notes', document: { _id: 2, text } },
      {
        written: { collection: 'notes', document: { _id: 2, text: '{{ input.text }}' } },
      },
    );
    const written = { collection: 'notes', filter: { text: '{{ input.text }}' } };
    expect(await run('findOne', { collection: 'notes', filter: { text } }, { written })).toMatchObject({
      document: { text },
    });
  });

  it('changes nothing else in an update', async () => {
    const params = { collection: 'notes', filter: { _id: 1 }, update: { $set: { x: { $inc: { n: 1 } } } } };
    const written = { ...params, update: { $set: { x: '{{ input.x }}' } } };
    await faultOf(call('updateOne', params, { written }), 'step.params');
    const whole = { ...params, update: { name: 'replaced' } };
    await faultOf(call('updateOne', whole), 'step.params');
    const pipeline = [{ $set: { name: '$password' } }];
    const data = { ...params, update: [{ $set: { name: '{{ input.name }}' } }] };
    await faultOf(call('updateOne', { ...params, update: pipeline }, { written: data }), 'step.params');
    expect(await find()).toEqual({ documents: [secretNote], more: false });
  });

  it('names no field in a projection or a pipeline', async () => {
    const projection = { collection: 'notes', projection: { name: '$password' } };
    const written = { collection: 'notes', projection: { name: '{{ input.name }}' } };
    await faultOf(call('find', projection, { written }), 'step.params');
    const pipeline = [{ $match: { $expr: { $eq: ['$password', '$password'] } } }];
    const compared = [{ $match: { $expr: { $eq: ['$password', '{{ input.password }}'] } } }];
    await faultOf(
      call('aggregate', { collection: 'notes', pipeline }, { written: { pipeline: compared } }),
      'step.params',
    );
    const literal = { $match: { $expr: { $eq: ['$password', { $literal: '$password' }] } } };
    const safe = { $match: { $expr: { $eq: ['$password', { $literal: '{{ input.password }}' }] } } };
    expect(
      await run('aggregate', { collection: 'notes', pipeline: [literal] }, { written: { pipeline: [safe] } }),
    ).toMatchObject({ documents: [] });
  });

  it('leaves no stage that writes, and nothing empty that means all', async () => {
    await faultOf(call('aggregate', { collection: 'notes', pipeline: [{ $out: 'x' }] }), 'step.params');
    await faultOf(call('deleteMany', { collection: 'notes', filter: {} }), 'step.params');
    const update = { $set: { n: 1 } };
    await faultOf(call('updateMany', { collection: 'notes', filter: {}, update }), 'step.params');
    expect(await run('count', { collection: 'notes' })).toEqual({ count: 1 });
  });

  it('is refused where it is no value of its type, or would be taken for one of the library', async () => {
    for (const _id of [
      { $oid: 'short' },
      { $oid: { $gt: '' } },
      { $date: 'never' },
      { $oid: null },
      { _bsontype: 'Long' },
    ]) {
      await faultOf(call('findOne', { collection: 'notes', filter: { _id } }), 'step.params');
    }
    await faultOf(call('insertOne', { collection: 'notes', document: { 'a\0b': 1 } }), 'step.params');
  });
});

describe('a transaction', () => {
  const move = (from: number, to: number) => [
    { action: 'updateOne', with: { collection: 'notes', filter: { _id: from }, update: { $inc: { n: -1 } } } },
    { action: 'updateOne', with: { collection: 'notes', filter: { _id: to }, update: { $inc: { n: 1 } } } },
  ];
  beforeEach(async () => {
    await run('insertMany', { collection: 'notes', documents: [1, 2].map((_id) => ({ _id, n: 5 })) });
  });

  it('takes effect as a whole, and sees what it wrote', async () => {
    const read = { action: 'findOne', with: { collection: 'notes', filter: { _id: 2 } } };
    const { results } = (await run('transaction', { operations: [...move(1, 2), read] })) as { results: unknown[] };
    expect(results[2]).toEqual({ document: { _id: 2, n: 6 } });
    expect(await find()).toMatchObject({ documents: [{ n: 4 }, { n: 6 }] });
  });

  it('that fails leaves nothing', async () => {
    const operations = [...move(1, 2), { action: 'insertOne', with: { collection: 'notes', document: { _id: 1 } } }];
    await faultOf(call('transaction', { operations }), 'upstream.rejected');
    expect(await find()).toMatchObject({ documents: [{ n: 5 }, { n: 5 }] });
    // Nothing holds the documents any more.
    await run('transaction', { operations: move(2, 1) });
    expect(await find()).toMatchObject({ documents: [{ n: 6 }, { n: 4 }] });
  });

  it('is checked as a whole before it begins', async () => {
    const evil = { action: 'deleteMany', with: { collection: 'notes', filter: { _id: { $gt: 0 } } } };
    const written = {
      operations: [...move(1, 2), { ...evil, with: { collection: 'notes', filter: { _id: '{{ input.id }}' } } }],
    };
    const fault = await faultOf(call('transaction', { operations: [...move(1, 2), evil] }, { written }), 'step.params');
    expect(fault.message).toContain('operations[2].with.filter._id');
    const wrong = { action: 'insertOne', with: { collection: 'system.users', document: {} } };
    await faultOf(call('transaction', { operations: [...move(1, 2), wrong] }), 'step.params');
    expect(await find()).toMatchObject({ documents: [{ n: 5 }, { n: 5 }] });
  });

  it.skipIf(!isStandIn)('whose commit is lost is told as of unknown outcome', async () => {
    await failing(['commitTransaction'], { closeConnection: true });
    expect(await faultOf(call('transaction', { operations: move(1, 2) }), 'step.ambiguous')).toMatchObject({
      retryable: false,
    });
  });

  it.skipIf(!isStandIn)('that conflicts with another may be repeated', async () => {
    await failing(['update'], { errorCode: 112, errorLabels: ['TransientTransactionError'] });
    expect(await faultOf(call('transaction', { operations: move(1, 2) }), 'upstream.rejected')).toMatchObject({
      retryable: true,
    });
  });

  it.skipIf(!isStandIn)('that is given up is ended in the server at once', async () => {
    await failing(['insert'], { blockConnection: true, blockTimeMS: 20_000 });
    const operations = [...move(1, 2), { action: 'insertOne', with: { collection: 'notes', document: { _id: 3 } } }];
    const signal = AbortSignal.timeout(200);
    await faultOf(call('transaction', { operations }, { signal }), 'step.timeout');
    // It would hold these documents otherwise.
    await run('transaction', { operations: move(2, 1) });
    expect(await find()).toMatchObject({ documents: [{ n: 6 }, { n: 4 }] });
  });
});

describe('files', () => {
  beforeEach(async () => {
    for (const collection of ['fs.files', 'fs.chunks']) await run('deleteMany', { collection, filter: {}, all: true });
  });

  it('are put, listed, got and deleted, in as many pieces as they need', async () => {
    const bytes = Buffer.alloc(2 * LIMITS.mongoChunkBytes + 7, 'tidegate');
    const base64 = bytes.toString('base64');
    const put = (await run('putFile', { filename: 'a.bin', base64, metadata: { kind: 'x' } })) as { id: object };
    expect(await run('count', { collection: 'fs.chunks' })).toEqual({ count: 3 });
    const facts = { id: put.id, filename: 'a.bin', sizeBytes: bytes.length, metadata: { kind: 'x' } };
    expect(await run('listFiles', { filter: { 'metadata.kind': 'x' } })).toMatchObject({ files: [facts], more: false });
    expect(await run('getFile', { filename: 'a.bin', as: 'base64' })).toMatchObject({ found: true, body: base64 });
    expect(await run('deleteFile', { id: put.id })).toEqual({ deleted: true });
    expect(await run('deleteFile', { id: put.id })).toEqual({ deleted: false });
    expect(await run('getFile', { id: put.id })).toEqual({ found: false });
    expect(await run('count', { collection: 'fs.chunks' })).toEqual({ count: 0 });
  });

  it('of one name are told apart by when they came, and the newest counts', async () => {
    await run('putFile', { filename: 'a', text: '' });
    await run('putFile', { filename: 'a', json: { total: 42 } });
    expect(await run('getFile', { filename: 'a', as: 'json' })).toMatchObject({ body: { total: 42 } });
    const { files } = (await run('listFiles', {})) as { files: { id: object; sizeBytes: number }[] };
    const [, oldest] = files;
    expect(await run('getFile', { id: oldest?.id })).toMatchObject({ body: '', sizeBytes: 0 });
  });

  it('whose pieces are not all there are not given out', async () => {
    const base64 = Buffer.alloc(LIMITS.mongoChunkBytes + 1).toString('base64');
    await run('putFile', { filename: 'a', base64 });
    await run('deleteOne', { collection: 'fs.chunks', filter: { n: 0 } });
    await faultOf(call('getFile', { filename: 'a' }), 'upstream.invalid');
    await run('updateOne', {
      collection: 'fs.files',
      filter: { filename: 'a' },
      update: { $set: { length: 2 ** 24 } },
    });
    await faultOf(call('getFile', { filename: 'a' }), 'upstream.too-large');
  });

  it('are named by values only', async () => {
    await run('putFile', { filename: 'a', text: 'x' });
    const written = { id: '{{ input.id }}', filter: '{{ input.filter }}' };
    await faultOf(call('getFile', { id: { $ne: null } }, { written }), 'step.params');
    await faultOf(call('deleteFile', { id: { $ne: null } }, { written }), 'step.params');
    await faultOf(call('listFiles', { filter: { length: { $gt: 0 } } }, { written }), 'step.params');
    await faultOf(call('getFile', {}), 'step.params');
    await faultOf(call('putFile', { filename: 'a' }), 'step.params');
  });
});

describe('what goes wrong', () => {
  const ping = { command: { ping: 1 } };
  const reach = (host: string, more: Record<string, unknown> = {}) =>
    over({ hosts: [host], tls: 'disable', ...more }, { user: 'tidegate', password: 'known-to-all' })('command', ping);

  it('is told of a wrong password without it', async () => {
    for (const secrets of [{ password: 'wrong-canary' }, { user: 'nobody-canary' }]) {
      const fault = await faultOf(over({}, secrets)('command', ping), 'upstream.unauthorized');
      expect(fault.retryable).toBe(false);
      expect(written(fault)).not.toMatch(/canary/);
      expect(written(fault)).not.toContain(password);
    }
  });

  it('is told of a wrong address, which may be tried again', async () => {
    expect(await faultOf(reach('127.0.0.1:1'), 'upstream.unreachable')).toMatchObject({ retryable: true });
  });

  it('passes by a host that does not answer, for the one that does', async () => {
    const several = over({ hosts: ['127.0.0.1:1', hostile.secondary, ...hosts] });
    if (tls === 'disable') expect(await output(several('command', ping))).toMatchObject({ reply: { ok: 1 } });
  });

  it('follows no server to a host that the connection does not name', async () => {
    expect(await faultOf(reach(hostile.secondary), 'upstream.unavailable')).toMatchObject({ retryable: true });
  });

  it.each([
    ['web', 'upstream.invalid'],
    ['gigabyte', 'upstream.too-large'],
    ['old', 'upstream.invalid'],
    ['impostor', 'upstream.unauthorized'],
    ['weak', 'upstream.unauthorized'],
    ['endless', 'upstream.unauthorized'],
  ] as const)('is noticed of a server of the kind %s', async (attack, code) => {
    const fault = await faultOf(reach(hostile[attack]), code);
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain('known-to-all');
  });

  it('is a certificate that nobody signed', async () => {
    const [, port = ''] = hostile.untrusted.split(':');
    await faultOf(reach(`localhost:${port}`, { tls: 'verify' }), 'upstream.unreachable');
  });

  it('is a server that says nothing, until the caller gives up', async () => {
    const calling = actionsOf(mongodb, {
      settings: { hosts: [hostile.silence], database, tls: 'disable' },
      secrets: { user, password },
    });
    await faultOf(calling('command', ping, { signal: AbortSignal.timeout(100) }), 'step.timeout');
    await faultOf(calling('command', ping, { signal: AbortSignal.abort() }), 'step.timeout');
  });

  it('is more than fits', async () => {
    const documents = Array.from({ length: 9 }, (_, _id) => ({ _id, text: 'x'.repeat(1024 * 1024) }));
    for (const document of documents) await run('insertOne', { collection: 'notes', document });
    const fault = await faultOf(call('find', { collection: 'notes' }), 'upstream.too-large');
    expect(fault.retryable).toBe(false);
    await run('find', { collection: 'notes', limit: 3 });
  });

  it('is an operator that the server does not know', async () => {
    const fault = await faultOf(call('find', { collection: 'notes', filter: { $nope: 1 } }), 'upstream.rejected');
    expect(fault).toMatchObject({ retryable: false, data: { code: 2 } });
  });

  it.skipIf(!isStandIn)('is a connection that is lost in the middle, which may be tried again', async () => {
    await failing(['find'], { closeConnection: true });
    expect(await faultOf(call('find', { collection: 'notes' }), 'upstream.unavailable')).toMatchObject({
      retryable: true,
    });
    await failing(['getMore'], { closeConnection: true });
    const documents = Array.from({ length: 1_500 }, (_, _id) => ({ _id }));
    await run('insertMany', { collection: 'notes', documents });
    await faultOf(call('find', { collection: 'notes', limit: 1_500 }), 'upstream.unavailable');
  });

  it.skipIf(!isStandIn).each([
    [10_107, 'upstream.unavailable', true],
    [189, 'upstream.unavailable', true],
    [50, 'upstream.rejected', true],
    [13, 'upstream.unauthorized', false],
    [121, 'upstream.rejected', false],
  ] as const)('is told by its code %i', async (errorCode, code, retryable) => {
    await failing(['insert'], { errorCode });
    const insert = call('insertOne', { collection: 'notes', document: { _id: 1 } });
    expect(await faultOf(insert, code)).toMatchObject({ retryable, data: { code: errorCode } });
  });
});

describe('the probe', () => {
  const probe = (secrets: object) => {
    const settings = credentials.settings;
    const { action = '', params } = mongodb.connection?.probe?.(settings) ?? {};
    return actionsOf(mongodb, { settings, secrets: { ...credentials.secrets, ...secrets } })(action, params, {
      written: null,
    });
  };

  it('succeeds with the credentials, and fails with others', async () => {
    await output(probe({}));
    await faultOf(probe({ password: 'wrong' }), 'upstream.unauthorized');
  });
});
