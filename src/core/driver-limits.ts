/** The bounds of drivers, each with its unit and its reason; part of `LIMITS`. */
export const DRIVER_LIMITS = {
  /** From the first packet to a session that takes statements: three or four round trips. */
  databaseConnectMilliseconds: 10_000,
  /** How long an attempt that is given up waits until its server has been told. */
  databaseCancelMilliseconds: 2_000,
  /** After half of it without a packet a session of MQTT is pinged; the broker gives it up after one and a half. */
  mqttKeepAliveSeconds: 60,
  /** How long a broker may take for an acknowledgement of MQTT. */
  mqttAnswerMilliseconds: 30_000,
  /** Messages of MQTT that are under way without an acknowledgement, either way. */
  mqttInFlight: 100,
  /** The same to a broker of 3.1.1, which cannot say how many it takes, and may forget those beyond without a word. */
  mqttInFlightOfOld: 10,
  /** Messages of one `publish-many`, and retained ones that one step reads. */
  mqttMessages: 1_000,
  /** A call of RabbitMQ with its session. A broker that is out of memory or disk lets a publisher wait for ever. */
  rabbitmqCallMilliseconds: 60_000,
  /** After twice this time without a word of the broker a subscription is opened anew. */
  rabbitmqHeartbeatSeconds: 30,
  /** Messages of RabbitMQ that one step gets, and that a subscription has under way without an acknowledgement. */
  rabbitmqMessages: 100,
  /** Rows that a cursor brings at a time; what is on its way when the bound is reached is thrown away. */
  databaseCursorRows: 1_000,
  /** Rows that one step reads; `responseBodyBytes` ends most results before. */
  databaseReadRows: 100_000,
  /** Rows of one `bulkUpsert`, and of `insert` and `upsert`, whose values are parameters of their own. */
  databaseBulkRows: 50_000,
  databaseInsertRows: 1_000,
  /** Statements of one transaction; more of them are one statement with a list. */
  databaseBatchStatements: 1_000,
  /** A text or blob of SQLite, as D1 and objects take it; a row has the same bound. */
  sqliteValueBytes: 2_000_000,
  /** After which MongoDB ends a command by itself: what nobody waits for any more does not go on for ever. */
  mongoCommandMilliseconds: 60_000,
  /** Documents that `mongodb.find` and `aggregate` give where the author says nothing. */
  mongoDocumentsUsual: 1_000,
  /** Statements of one `mongodb.bulkWrite`, and operations of one `transaction`, which the server ends after a minute. */
  mongoBulkStatements: 50_000,
  mongoTransactionOperations: 1_000,
  /** A piece of a file in GridFS: what all drivers use, so that a document of it fits a power of two. */
  mongoChunkBytes: 255 * 1024,
  /** How deep `and`, `or` and `not` of a condition on rows nest; they are built by recursion. */
  conditionDepth: 32,
  /** Records of one `kafka.publish` and of one `kafka.read`; a call of the proxy holds them all in memory. */
  kafkaRecords: 1_000,
  /** Key and value of a record: brokers take 1 MiB with its frame, unless their owner says otherwise. */
  kafkaRecordBytes: 1_048_000,
  /** All of one `kafka.publish`; in base64 a third more. */
  kafkaPublishBytes: 5 * 1024 * 1024,
  /** A call of a proxy of Kafka besides the time that it is asked to wait; a group may have to settle first. */
  kafkaCallMilliseconds: 30_000,
  /** How long a proxy of Kafka waits for records before it answers with none. */
  kafkaPollMilliseconds: 10_000,
  /** The first poll joins the group; so long until a subscription is known to work. */
  kafkaFirstPollMilliseconds: 500,
  /**
   * What one poll brings. Confluent's proxy hands out at most 30 records, and never one beyond the bound; Redpanda's
   * takes it for a bound of its compressed batches, whose first it sends whatever its size.
   */
  kafkaPollBytes: { confluent: 3 * 1024 * 1024, redpanda: 256 * 1024 },
  /** Records that a subscription delivers and commits at a time. */
  kafkaEventBatch: 200,
  /** Before a proxy is asked again that answered at once with nothing. */
  kafkaIdleMilliseconds: 1_000,
  /** How long the end of a consumer instance may take; a subscription that ends has five seconds. */
  kafkaGoodbyeMilliseconds: 3_000,
  /** Partitions whose place fits into the cursor of a subscription. */
  kafkaCursorPartitions: 150,
  /** A line of a server of NATS; the longest, `INFO` of a large cluster, has a few KB. */
  natsLineBytes: 64 * 1024,
  /** How long JetStream may take to confirm an acknowledgement or hand out what is there. */
  natsReplyMilliseconds: 5_000,
  /** After which a subscription that hears nothing asks again. */
  natsPullMilliseconds: 30_000,
  /** Messages of one `nats.fetch` and of one `nats.ack`. */
  natsFetchMessages: 1_000,
  /** Keys of one list, values of one history; each is a message that is read. */
  natsKeys: 10_000,
  /** Messages that a subscription holds and delivers at a time. */
  natsEventBatch: 100,
  /** A line of a reply of Redis: statuses, numbers and errors; an error may quote what it was sent. */
  redisLineBytes: 64 * 1024,
  /** Elements of one reply of Redis: each may take four bytes on the wire and ten times as much in memory. */
  redisReplyItems: 1_000_000,
  /** How long a subscription to Redis waits for messages before it asks whether the server is still there. */
  redisIdleMilliseconds: 30_000,
  /** How long it then waits for the answer. */
  redisAnswerMilliseconds: 10_000,
  /** Entries of a stream that one subscription takes at a time: their runs are made durable together. */
  redisStreamEntries: 1_000,
  /** A part of a large object on its way: S3 takes no less, Google multiples of 256 KiB, and memory a few of them. */
  objectPartBytes: 5 * 1024 * 1024,
  /** Parts of one object; S3 and R2 take no more. */
  objectParts: 10_000,
  /** What a Git server sends for one fetch: it is in memory a few times while it is read. */
  gitFetchBytes: 16 * 1024 * 1024,
  /** Objects of that, one of them, and all of them once unpacked: each is inflated, at the cost of CPU time. */
  gitObjects: 50_000,
  gitObjectBytes: 16 * 1024 * 1024,
  gitUnpackedBytes: 128 * 1024 * 1024,
  /** Entries of trees that one step looks at; trees that hold a tree more than once grow beyond all bounds. */
  gitEntries: 100_000,
  /** Files of one commit of a step, and what one reads; commits of a log, and names of a list. */
  gitFiles: 1_000,
  gitCommits: 1_000,
  gitRefs: 5_000,
  /** What is shown of each side of a conflict. */
  gitConflictBytes: 64 * 1024,
  /** What is read of the output of a container. */
  dockerOutputBytes: 1024 * 1024,
  /** How long a container that is given up is given for its removal. */
  dockerCleanUpMilliseconds: 10_000,
  /** Files of the context of a build. */
  dockerBuildFiles: 1_000,
  /** Mail: RFC 5321 has servers take 100 recipients of one message; providers often take no more. */
  mailRecipients: 100,
  /** A message with its attachments in base64; Gmail takes 25 MB, and memory holds it about three times. */
  mailMessageBytes: 20 * 1024 * 1024,
  mailAttachments: 50,
  mailHeaders: 50,
  /** One reply of a mail server, of which each line takes 512 bytes (RFC 5321, section 4.5.3.1.5). */
  mailReplyBytes: 64 * 1024,
  mailConnectMilliseconds: 10_000,
  mailReplyMilliseconds: 30_000,
  /** A server may look for viruses before it takes a message; RFC 5321 grants it ten minutes, a step never has them. */
  mailAcceptMilliseconds: 120_000,
  /** `LISTEN`: names are that long in Postgres, and channels so many for one session. */
  postgresChannelBytes: 63,
  postgresChannels: 64,
  /** What a session holds while it is being delivered; then the server waits. */
  postgresListenHeldCharacters: 1024 * 1024,
  /** How often a session that only listens asks whether the server is still there. */
  postgresListenCheckMilliseconds: 30_000,
} as const;
