/** `kafka.*`: Kafka through an HTTP proxy; see docs/kafka.md. */

import * as v from 'valibot';
import { fail, ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { readRange } from '../../drivers/kafka/read.ts';
import { brokers, produce, topicNames, topicOf } from '../../drivers/kafka/topics.ts';
import { defineAction, type Connector } from '../kit/types.ts';
import { connection, facts, open } from './connection.ts';
import { as, encodeRecords, offsetNumber, outgoingRecords, partitionNumber, readRecord, topicName } from './records.ts';
import { topicSubscription } from './subscription.ts';

const NOTHING = v.strictObject({});

export const kafka: Connector = {
  name: 'kafka',
  title: 'Kafka (HTTP proxy)',
  connection: facts,
  subscriptions: { topic: topicSubscription },
  actions: {
    ping: defineAction(
      {
        title: 'Ask which brokers there are',
        effect: 'idempotent',
        params: NOTHING,
        example: {},
        run: (_params, context) => brokers(...open(context)),
      },
      connection,
    ),
    topics: defineAction(
      {
        title: 'List topics',
        effect: 'idempotent',
        params: NOTHING,
        example: {},
        async run(_params, context) {
          const found = await topicNames(...open(context));
          return found.ok ? ok({ topics: found.value }) : found;
        },
      },
      connection,
    ),
    topic: defineAction(
      {
        title: 'Look at a topic and its partitions',
        effect: 'idempotent',
        params: v.strictObject({ topic: topicName }),
        example: { topic: 'orders' },
        run: ({ topic }, context) =>
          context.connection.settings.proxy === 'redpanda'
            ? fail('step.params', "Redpanda's proxy does not tell of a topic; it lists them only.")
            : topicOf(...open(context), topic),
      },
      connection,
    ),
    publish: defineAction(
      {
        title: 'Publish records',
        effect: 'external',
        params: v.strictObject({ topic: topicName, records: outgoingRecords }),
        example: { topic: 'orders', records: [{ key: '42', json: { id: 42, paid: true } }] },
        async run({ topic, records }, context) {
          const encoded = encodeRecords(records);
          return encoded.ok ? produce(...open(context), topic, encoded.value) : encoded;
        },
      },
      connection,
    ),
    read: defineAction(
      {
        title: 'Read records of a partition',
        effect: 'idempotent',
        params: v.strictObject({
          topic: topicName,
          partition: partitionNumber,
          offset: v.pipe(offsetNumber, v.description('Of the first record.')),
          limit: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.kafkaRecords)), 100),
          waitMilliseconds: v.optional(
            v.pipe(
              v.number(),
              v.integer(),
              v.minValue(100),
              v.maxValue(LIMITS.kafkaPollMilliseconds),
              v.description('How long to wait for records where there are none.'),
            ),
            1_000,
          ),
          as,
        }),
        example: { topic: 'orders', partition: 0, offset: 1200, limit: 50 },
        async run({ as: form, ...range }, context) {
          const read = await readRange(...open(context), range);
          if (!read.ok) return read;
          const nextOffset = (read.value.at(-1)?.offset ?? range.offset - 1) + 1;
          return ok({ records: read.value.map((record) => readRecord(record, form)), nextOffset });
        },
      },
      connection,
    ),
  },
};
