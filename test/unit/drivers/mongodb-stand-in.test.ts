/** MongoDB's own driver with our stand-in: what the tests of the connector rely on is not only what we believe. */

import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { GridFSBucket, MongoClient } from 'mongodb';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { start, type MongoServer } from '../../../scripts/servers/mongo.ts';

let server: MongoServer;
let client: MongoClient;

const clientOf = (password: string): MongoClient =>
  // With an API version the driver speaks OP_MSG from the first message on, as the gateway does.
  new MongoClient(`mongodb://${server.user}:${password}@${server.host}:${server.port}/`, {
    serverSelectionTimeoutMS: 5_000,
    serverApi: '1',
  });

beforeAll(async () => {
  server = await start();
  client = await clientOf(server.password).connect();
});

afterAll(async () => {
  await client.close();
  await server.stop();
});

it('refuses a wrong password', async () => {
  const wrong = clientOf('wrong');
  await expect(wrong.connect()).rejects.toMatchObject({ code: 18 });
  await wrong.close();
});

it('writes and reads documents, batch by batch', async () => {
  const notes = client.db('unit').collection<{ _id: number; n?: number }>('notes');
  await notes.insertMany(Array.from({ length: 300 }, (_, _id) => ({ _id })));
  expect(await notes.find().sort({ _id: 1 }).toArray()).toHaveLength(300);
  await expect(notes.insertOne({ _id: 1 })).rejects.toMatchObject({ code: 11_000 });
  expect(await notes.updateOne({ _id: 1_000 }, { $set: { n: 1 } }, { upsert: true })).toMatchObject({
    upsertedId: 1_000,
  });
  expect(await notes.findOneAndUpdate({ _id: 1 }, { $inc: { n: 2 } }, { returnDocument: 'after' })).toEqual({
    _id: 1,
    n: 2,
  });
  expect(new Set(await notes.distinct('n'))).toEqual(new Set([1, 2]));
  expect((await notes.deleteMany({ _id: { $gte: 10 } })).deletedCount).toBe(291);
  expect(await notes.countDocuments()).toBe(10);
});

it('keeps a transaction to itself until it commits, and forgets one that is aborted', async () => {
  const notes = client.db('unit').collection<{ _id: number }>('moves');
  const session = client.startSession();
  session.startTransaction();
  await notes.insertOne({ _id: 1 }, { session });
  expect([await notes.countDocuments({}, { session }), await notes.countDocuments()]).toEqual([1, 0]);
  await session.commitTransaction();
  session.startTransaction();
  await notes.deleteOne({ _id: 1 }, { session });
  await session.abortTransaction();
  await session.endSession();
  expect(await notes.countDocuments()).toBe(1);
});

it('keeps a file of GridFS', async () => {
  const bucket = new GridFSBucket(client.db('unit'));
  const bytes = Buffer.alloc(600_000, 'tidegate');
  const upload = bucket.openUploadStream('a.bin');
  upload.end(bytes);
  await once(upload, 'finish');
  const pieces: Buffer[] = [];
  for await (const piece of bucket.openDownloadStreamByName('a.bin')) pieces.push(Buffer.from(piece as Uint8Array));
  expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
});
