import { DRIVER_LIMITS } from './driver-limits.ts';

/** Every bound of the gateway, with its unit and its reason. */
export const LIMITS = {
  /** A chain document. Larger ones are data, not definitions; D1 takes 2 MB a row. */
  chainDocumentBytes: 512 * 1024,
  /** Steps of one chain. A plan of this size still compiles in a few milliseconds. */
  chainSteps: 1_000,
  /** `flow.each` inside `flow.each`. */
  eachDepth: 3,
  /** Items of one `flow.each`; their outputs are held in memory and in the record together. */
  eachItems: 100_000,
  /** Items of one `flow.each` that are under way at a time, where the author says nothing, and at most. */
  eachConcurrencyUsual: 10,
  eachConcurrency: 1_000,
  /**
   * Items from which on a `flow.each` with effects goes through the queue: a message takes as long as ten
   * requests after each other, and the run object has six at a time.
   */
  wideItems: 60,
  /** Items of one message: what comes of them is one row. */
  wideRangeItems: 48,
  /** After which a message that nobody has taken up is sent again: at first, and at most. */
  wideQueueMilliseconds: 60_000,
  wideQueueLongestMilliseconds: 15 * 60_000,
  /** How long a consumer begins attempts for one message. */
  wideWorkMilliseconds: 10_000,
  /** The longest timeout of a step that may run there; the platform gives a consumer 15 minutes in all. */
  wideStepLongestMilliseconds: 5 * 60_000,
  /** What a consumer needs besides for its calls of the run object. */
  wideGraceMilliseconds: 15_000,
  /** A retry further away than this is left to a later message. */
  wideWaitMilliseconds: 5_000,
  /** After which sending is tried again where the queue did not take a message. */
  wideSendAgainMilliseconds: 5_000,
  /** Results that a consumer holds before it delivers them; an isolate has 128 MB for several messages. */
  wideHeldCharacters: 4 * 1024 * 1024,
  /** Results that are delivered in one call and one row: a row takes 2 MB, a character up to three bytes. */
  wideDeliveryCharacters: 512 * 1024,
  /** Messages of one call of the queue; the platform takes 100. */
  queueBatchMessages: 100,
  /** Of the owner's queues, as the platform has them: a message, those of one call, and the longest delay. */
  queueMessageBytes: 128_000,
  queueBatchBytes: 256_000,
  queueDelaySeconds: 12 * 60 * 60,
  /** Delay before a message is tried again, which doubles each time, and its longest. */
  queueRetrySeconds: 1,
  queueRetryLongestSeconds: 60,
  /** Chains that call chains. */
  callDepth: 8,
  /** Gateways that a request passes, this one each time that it calls itself; each may multiply its calls. */
  hops: 5,
  /** How late a timeout of an upstream may be noticed; one below four of them is timed exactly. */
  deadlineTickMilliseconds: 250,
  /** How long one request watches the timeouts of others. The platform ends what is left of a request after 30 s. */
  deadlineWatchMilliseconds: 20_000,
  /** Mistakes of one document that are told at once; nobody reads more. */
  chainIssues: 100,
  /** Nesting of any JSON that comes from outside; recursion over it must fit the stack. */
  jsonDepth: 128,

  /** Source text of one expression, in characters. */
  expressionCharacters: 8 * 1024,
  /** Evaluation of one expression, in milliseconds: an isolate serves others meanwhile. */
  expressionMilliseconds: 1_000,
  /** Depth of calls inside one expression. */
  expressionDepth: 300,
  /** Items of an array that an expression makes, e.g. by `[1..n]`. */
  expressionItems: 1_000_000,
  /** A text that an expression makes, in characters. */
  expressionResultCharacters: 16 * 1024 * 1024,

  /** Body of a request to a chain. Its row takes 2 MB and may hold it twice: as the body and in the input. */
  requestBodyBytes: 900 * 1024,
  /** The most that a route may say of a body: it passes as a stream, and the platform takes no more. */
  routeBodyBytes: 500 * 1024 * 1024,
  /** Body of a webhook; the largest vendor (GitHub) sends up to 25 MB, most less than 1 MB. */
  webhookBodyBytes: 900 * 1024,
  /** Reply of an upstream that a step reads into memory (an isolate has 128 MB for everything). */
  responseBodyBytes: 8 * 1024 * 1024,
  /** From here on an output of a durable run goes to R2: a row is written anew with each turn. */
  blobFromBytes: 100 * 1024,
  /** Output of one step in a durable run, as JSON: an isolate has 128 MB for everything. */
  stepOutputBytes: 10 * 1024 * 1024,
  /** Outputs in R2 of one run together: all are in memory while it is driven, and a call carries 32 MB. */
  runOutputsBytes: 24 * 1024 * 1024,
  /** Output of one step where it cannot go to R2: a row of the journal takes 2 MB. */
  rowOutputBytes: 1024 * 1024,
  /** Tries to store an output before its step fails. */
  blobTries: 4,
  /** Redirects that an outgoing request follows. */
  redirects: 5,

  /** Items that a data step takes, and rows that it may make: all are in memory. */
  dataItems: 1_000_000,
  /** Keys, figures, sort keys, formats or types of one data step; each is looked at for each item. */
  dataFields: 64,
  /** A path to a value in an item, in characters. */
  dataPathCharacters: 1_024,
  /** Digits of a number as text; that of the smallest double has 1,074 behind the point. */
  dataDecimalCharacters: 1_200,
  /** What one format of `data.convert` takes and makes: with its copies it has to fit into 128 MB. */
  dataBytes: 16 * 1024 * 1024,
  /** Packed bytes that are unpacked at a time: deflate makes at most 1,032 of one. */
  dataUnpackBytes: 4 * 1024,
  /** Cells of one row of CSV, fields of a form, parts of a multipart body. */
  dataColumns: 10_000,
  /** Nested elements of XML; the parser recurses. */
  dataXmlDepth: 100,
  /** What is signed or encrypted, and a token that is checked: WebCrypto takes it whole. */
  dataTokenBytes: 1024 * 1024,
  /** A row of `objects.transform`, read or written: one is in memory a few times while it is changed. */
  transformRowCharacters: 1024 * 1024,
  /** Bytes of an object that are asked for at a time, and packed or unpacked. */
  transformChunkBytes: 64 * 1024,
  /** Text that is worked off before others have their turn: an isolate serves them meanwhile. */
  transformTurnCharacters: 512 * 1024,
  /** What unpacking makes of one object: as much as can be written. A bomb of 50 MB would make it. */
  transformUnpackedBytes: 50_000_000_000,
  /** Keys, groups, figures of a group and distinct values that one transform holds, and their text together. */
  transformRemembered: 250_000,
  transformRememberedCharacters: 16 * 1024 * 1024,
  /** Rows that could not be used whose reasons are told; the others are counted. Nobody reads more. */
  transformReasons: 100,
  /** Such a reason, in characters. */
  transformReasonCharacters: 500,
  /** Earlier keys of a connection that still verify and decrypt. */
  dataPreviousKeys: 4,

  /** Attempts of one step, the first included. */
  stepAttempts: 100,
  /** Attempts after the first in a durable run, where the author says nothing and the effect allows it. */
  retriesUsual: 3,
  /** Default and longest time of one attempt. */
  stepTimeoutMilliseconds: 30_000,
  stepTimeoutLongestMilliseconds: 15 * 60_000,
  /** Default time of a whole run: inline (a caller waits), durable. */
  runTimeoutInlineMilliseconds: 60_000,
  runTimeoutDurableMilliseconds: 24 * 3_600_000,
  /** The longest that a chain may ask for. A caller does not wait longer; a schedule serves longer waits. */
  runTimeoutInlineLongestMilliseconds: 15 * 60_000,
  runTimeoutDurableLongestMilliseconds: 30 * 24 * 3_600_000,
  /** Longest wait between two attempts. */
  retryDelayLongestMilliseconds: 24 * 3_600_000,
  /** Requests of one invocation that wait for headers at a time; the platform allows six. */
  concurrentSteps: 6,

  /** Signature entries of one webhook header that are compared; rotation needs two, a flood is refused. */
  webhookSignatures: 16,
  /** Age and future of a webhook's timestamp, either way. */
  webhookToleranceSeconds: 300,
  /** By how much the clock of a sender of tokens (JWT) may differ. */
  webhookClockSkewSeconds: 60,
  /** A token (JWT) of a sender; those of vendors have less than 2 KB. */
  webhookTokenCharacters: 8 * 1024,
  /** Body of a handshake; the largest (a confirmation of SNS) has about 2 KB. It is read before it is proven. */
  webhookHandshakeBytes: 16 * 1024,
  /** A challenge that is sent back; those of vendors have less than 300 characters. */
  webhookChallengeCharacters: 1024,
  /** A secret that a vendor brings in a handshake; shorter ones could be guessed. */
  webhookAdoptedSecretCharacters: { least: 8, most: 512 },
  /** How long the owner may read a secret that a handshake brought, where it has to be entered at the vendor's. */
  webhookConfirmMilliseconds: 3_600_000,
  /** A certificate or key set that a sender's key comes from. */
  webhookKeyBytes: 64 * 1024,
  /** How long such a key is taken for good, and what a source keeps of them. */
  webhookKeyMilliseconds: 3_600_000,
  webhookKeysInMemory: 16,
  /** Fetches of keys of one source in a minute: requests name keys before they are proven. */
  webhookKeyFetchesPerMinute: 10,
  webhookKeyTimeoutMilliseconds: 5_000,

  /** How long an event of a source is kept, and how long its delivery id is known, where the source says nothing. */
  eventRetentionMilliseconds: 7 * 24 * 3_600_000,
  /** The longest and the shortest that a source may ask for; an inbox takes 10 GB. */
  eventRetentionLongestMilliseconds: 90 * 24 * 3_600_000,
  eventRetentionShortestMilliseconds: 60_000,
  /** Events whose runs are started in one go, and their bodies together: a call carries 32 MB. */
  inboxBatchEvents: 200,
  inboxBatchBytes: 4 * 1024 * 1024,
  /** Bodies of events that wait for their runs; others are read from disk when it is their turn. */
  inboxHeldBytes: 8 * 1024 * 1024,
  /** After which starting the runs of an event is tried again: at first, and at most. */
  inboxRetryMilliseconds: 100,
  inboxRetryLongestMilliseconds: 30_000,
  /** After which an event whose runs could not be started is failed; it can be recovered by hand. */
  inboxGiveUpMilliseconds: 24 * 3_600_000,
  /** How often an inbox notes on disk up to where all is done, which a new instance need not look through. */
  inboxMarkMilliseconds: 60_000,
  /** How long what became of events gathers where none arrives with which it could be written. */
  inboxSettleMilliseconds: 100,
  /** Events that one turn of pruning deletes; each takes two rows. */
  inboxPruneEvents: 500,
  /** Refused deliveries that a source keeps, the newest: whoever sends them must not fill the disk. */
  rejectedPerSource: 200,
  /** What is kept of the body and of the headers of a refused delivery. */
  rejectedBodyBytes: 4 * 1024,
  rejectedHeaderCharacters: 4 * 1024,
  /** How long an isolate gathers refused deliveries of a source, and how many it keeps of them. */
  rejectedDelayMilliseconds: 2_000,
  rejectedPerWrite: 20,
  /** Events of one page of a list, and how many are looked through for it. */
  eventsPerPage: 100,
  eventsLookedThrough: 5_000,
  /** Events that one call of recover looks at, each with its runs. */
  eventsPerRecover: 100,
  /** Runs that an event tells of; each replay adds to them. */
  runsPerEvent: 100,
  /** Clients that listen to a source at a time. */
  listenersPerSource: 100,
  /** Events of one chunk of a listener, and their bodies together. */
  listenChunkEvents: 100,
  listenChunkBytes: 256 * 1024,
  /** A listener that takes nothing for this long is cut off; it comes back for what it missed. */
  listenStallMilliseconds: 60_000,

  /** Runs that one object drives at a time; further ones are queued on disk. */
  runsPerObject: 256,
  /** Runs that an object holds for later, on disk or on their way there; with more it takes no new ones. */
  waitingRunsPerObject: 20_000,
  arrivingRunsPerObject: 4_000,
  /** Run objects near each location that callers come from. */
  shardsPerLocation: 4,
  /** How long a run object sleeps at most while it has runs under way. */
  runLeaseMilliseconds: 30_000,
  /** Runs under flow control that one object holds, waiting or under way; each takes about 1 KB of its memory. */
  flowRunsPerObject: 20_000,
  /** `concurrency.limit`, `throttle.limit` and `throttle.burst`. */
  flowLimit: 10_000,
  /** The longest period of flow control. */
  flowPeriodLongestMilliseconds: 30 * 24 * 3_600_000,
  /** The key of a run under flow control, as JSON text. */
  flowKeyCharacters: 1_024,
  /** Priorities go from minus this to plus this. */
  flowPriority: 100,
  /** Start and journal of a run in one row, in characters; a longer journal goes on in rows of its own. */
  runRowCharacters: 32 * 1024,
  /** A run that waits longer than this leaves the memory of its object, which then costs nothing. */
  parkAfterMilliseconds: 10_000,
  /** How long ended runs stay in their object, and how often those go to R2 that were there for so long. */
  archiveMilliseconds: 3_600_000,
  /** When so many runs have ended in an object, they go to R2 before their time. */
  endedRuns: 20_000,
  /** How long an accepted run is known for sure: who got no answer asks once more. */
  repeatMilliseconds: 30_000,
  /** Runs of one object in R2, and its size before it is packed; one run is read by reading them all. */
  archiveBatchRuns: 1_000,
  archiveBatchCharacters: 4 * 1024 * 1024,
  /** How long a delivery, a tick or a call that comes again is known; senders retry for three days at most. */
  deliveryMemoryMilliseconds: 7 * 24 * 3_600_000,
  /** Rows of archived runs that an object keeps for new runs. */
  spareRows: 10_000,
  /** How long ended runs are kept, where TIDEGATE_RETENTION_DAYS does not say otherwise. */
  retentionDays: 30,
  /** How often an object looks for runs that are past their retention. */
  pruneMilliseconds: 3_600_000,
  /** The final record of a run in its object: a row takes 2 MB. */
  runRecordBytes: 1_800_000,
  /** How long summaries gather before they go to D1 in one batch. */
  summaryDelayMilliseconds: 500,
  /** A run that has not ended by then is told to D1 as it is; before, only where somebody asks. */
  summaryOpenMilliseconds: 60_000,
  /** How often a run object notes on disk up to when its summaries are in D1. */
  savedUntilWriteMilliseconds: 60_000,
  /** Longest time that a caller waits for the result of a durable run; then it gets 202. */
  resultWaitMilliseconds: 60_000,
  /** Calls over one connection that fail in a row until it is paused. */
  breakerFailuresInARow: 5,
  /** Or the share of failures in a window of so many calls at least. */
  breakerFailureShare: 0.5,
  breakerWindowCalls: 20,
  breakerWindowMilliseconds: 60_000,
  /** The first pause; each probe that fails doubles it. */
  breakerPauseMilliseconds: 1_000,
  breakerPauseLongestMilliseconds: 5 * 60_000,
  /** How long after its timeout a probe is given up for lost. */
  breakerProbeGraceMilliseconds: 5_000,
  /** Clients that watch runs of one object at a time; each costs memory with every step that it has seen. */
  liveWatchersPerObject: 500,
  /** Chunks that a watcher of a run may lag behind before it is cut off. */
  liveBacklogChunks: 256,
  /** Common proxies cut a connection that is silent for 30 s or more. */
  liveHeartbeatMilliseconds: 15_000,
  /** How soon a browser that lost its stream comes back. */
  liveRetryMilliseconds: 1_000,
  /** How long records of inline runs gather: each write to D1 syncs a disk, on the thread that serves here. */
  inlineRecordDelayMilliseconds: 1_000,
  /** Inline runs an isolate records in full each second; failures have as many places of their own. */
  inlineRecordsPerSecond: 50,
  /** Age at which an isolate asks D1 whether its configuration is still the newest. */
  configurationAgeMilliseconds: 2_000,
  /** Compiled plans in memory; a plan of ten steps takes about 20 KB. */
  plansInMemory: 1_000,
  originsInMemory: 1_000,
  /** How often, at most, a miss (an unknown path, source or key) makes an isolate ask D1. */
  configurationMissMilliseconds: 100,

  /** How long figures of traffic gather in an isolate before they are sent. */
  trafficDelayMilliseconds: 5_000,
  /** Kinds of requests (minute, target, version, caller) that an isolate tells apart between two sendings. */
  trafficTallies: 2_000,
  /** Of them in one message, which takes 128 KB; one is about 250 bytes. */
  trafficTalliesPerMessage: 300,
  /** After so long the minutes of an hour become one row, and after so long the hour is forgotten. */
  trafficMinutesMilliseconds: 48 * 3_600_000,
  trafficHoursMilliseconds: 400 * 24 * 3_600_000,
  /** Rows that one question may add up. */
  trafficRows: 50_000,
  /** Limits of one route or trigger; each may cost a call of a limiter object. */
  limitsPerTarget: 8,
  /** `limits.limit`, `concurrency.limit` and quotas: tokens are counted in doubles, and nobody needs more. */
  limitTokens: 1_000_000_000,
  /** The shortest period of a limit, and of a burst: an isolate tells four times a second what it has spent. */
  limitPeriodShortestMilliseconds: 1_000,
  /** The longest one; quotas serve days and months. */
  limitPeriodLongestMilliseconds: 24 * 3_600_000,
  /** From this period on a limit outlives the object that counts it: an idle object is evicted after a minute. */
  limitDurableMilliseconds: 60_000,
  /** What a limit is counted by, in characters; a longer text is counted by its SHA-256. */
  limitKeyCharacters: 512,
  /** Limiter objects: each takes about a thousand calls a second. */
  limiterShards: 32,
  /** Keys in memory of one limiter object, about 1 KB each; then the one that was used longest ago is dropped. */
  limiterKeysPerObject: 20_000,
  /** Keys in memory of an isolate, about 300 bytes each; a dropped one gives its tokens up. */
  limiterKeysPerIsolate: 20_000,
  /** How long an isolate waits for a limiter object before it decides by itself. */
  limiterAnswerMilliseconds: 1_000,
  /** How long tokens of a lease may be spent, at most; the platform lets an isolate return them for 30 s. */
  limiterLeaseMilliseconds: 15_000,
  /** How often an isolate looks what it has to report, and how late it may be, a quarter of the period at most. */
  limiterReportMilliseconds: 250,
  limiterReportLatestMilliseconds: 1_000,
  /** How long a denial is remembered at most before the object is asked again: tokens may have come back. */
  limiterDenialMilliseconds: 1_000,
  /** How long permits of an isolate that is silent count as taken, and how often it speaks while it has some. */
  limiterPermitMilliseconds: 30_000,
  limiterHeartbeatMilliseconds: 10_000,
  /** How often a limiter object removes limits and quotas from disk whose time is over. */
  limiterSweepMilliseconds: 10 * 60_000,

  /** The longest time that a cached response is fresh, or tolerated stale. */
  cacheLongestMilliseconds: 30 * 24 * 3_600_000,
  /** A time that is guessed of `Last-Modified`; after a day RFC 7234 asked for a warning. */
  cacheHeuristicMilliseconds: 24 * 3_600_000,
  /** How long a stale response is kept for its validator alone. */
  cacheValidatorMilliseconds: 3_600_000,
  /** Body of a cached response, where the route says nothing, and at most: it is held in memory while it comes. */
  cacheBodyBytes: 1024 * 1024,
  cacheBodyLargestBytes: 8 * 1024 * 1024,
  /** Cached responses in the memory of an isolate, which has 128 MB, together and each. */
  cacheMemoryBytes: 16 * 1024 * 1024,
  cacheMemoryEntryBytes: 256 * 1024,
  /** How long memory answers without a look at what other isolates of the data centre have invalidated. */
  cacheMemoryMilliseconds: 2_000,
  /** Age of the configuration at which a cached response waits for a look at newer purges. */
  cachePurgeMilliseconds: 5_000,
  /** Metadata of a cached response, in characters: they stand in one header of what the platform keeps. */
  cacheFieldsCharacters: 24 * 1024,
  /** Invalidated addresses, and keys known not to be storable, that an isolate remembers. */
  cacheMarks: 10_000,
  /** How long requests for what could not be stored do not wait for each other. */
  cachePassMilliseconds: 10_000,
  /** How often the one that asks says that it still lives, and after what silence another takes its place. */
  cacheBeatMilliseconds: 500,
  cacheSilenceMilliseconds: 3_000,
  /** Attempts that fail until those who wait ask for themselves. */
  cacheTakeovers: 2,
  /** How often one who waits may find that what came is not for it, as with headers of its own in `Vary`. */
  cacheTurns: 8,
  /** Names in lists of the cache policy. */
  cacheHeaders: 16,
  cacheQueryNames: 64,
  cacheTags: 32,
  cacheTagCharacters: 256,
  /** Purges that are told apart; of older ones only that everything before them is stale. Each isolate holds them. */
  cachePurges: 1_000,
  /** Addresses and tags of one purge: each is a statement of one transaction. */
  cachePurgeItems: 100,

  /** How long an idempotency key stands for its response, where the route says nothing, and at most. */
  idempotencyMilliseconds: 24 * 3_600_000,
  idempotencyLongestMilliseconds: 30 * 24 * 3_600_000,
  /** How long a request holds its key without a sign of life. */
  idempotencyLockMilliseconds: 30_000,
  /** After which one that met a request under way is told to ask again, at most. */
  idempotencyRetryMilliseconds: 1_000,
  /** The draft says nothing; a UUID has 36. */
  idempotencyKeyCharacters: 255,
  /** Body of a request whose key is checked: it is read whole for its fingerprint. */
  idempotencyRequestBytes: 8 * 1024 * 1024,
  /** Body of a response in a row (which takes 2 MB), and in R2. */
  idempotencyRowBytes: 1024 * 1024,
  idempotencyBodyBytes: 8 * 1024 * 1024,
  /** Objects that keep keys. Another number would forget them all. */
  idempotencyShards: 64,
  /** How often an object removes what has expired, and how many rows at a time. */
  idempotencySweepMilliseconds: 3_600_000,
  idempotencySweepRows: 1_000,

  /** A cron: five fields of lists; nobody writes more than a few dozen characters. */
  cronCharacters: 256,
  /** A tick that fires later than this was missed. An alarm may be a minute late. */
  scheduleLateMilliseconds: 90_000,
  /** Runs that one turn of the scheduler starts; the rest follows in further turns. */
  ticksPerTurn: 1_000,
  /** Missed ticks of one schedule in one turn, so that it does not hold up the others. */
  ticksPerSchedule: 100,
  /** Compiled schedules in memory, about 3 KB each. */
  schedulesInMemory: 2_000,

  /** Targets of one pool: each request may look at all of them. */
  poolTargets: 64,
  poolWeight: 1_000,
  /** Until the first byte of a reply where nobody says otherwise, and the longest that one may ask for. */
  upstreamTimeoutMilliseconds: 30_000,
  upstreamTimeoutLongestMilliseconds: 15 * 60_000,
  /** How often one request may pass through the gateway: a route may lead to another, but not back to itself. */
  /** Attempts of one request at upstreams, the first included. */
  upstreamAttempts: 5,
  /** A body up to this size is kept in memory so that it can be sent again. */
  retryBodyBytes: 64 * 1024,
  /** The part of its requests that a pool may repeat, what each second adds, and what may be saved up. */
  retryBudgetShare: 0.2,
  retryBudgetPerSecond: 1,
  retryBudgetLargest: 10,
  /** Before a target gets the same request again; doubled each time, half of it at random. */
  retryPauseMilliseconds: 25,
  /** How often a target is checked: each check of a pool is one request and one written row. */
  healthIntervalLeastMilliseconds: 1_000,
  healthIntervalLongestMilliseconds: 3_600_000,
  /** Targets of a pool that are checked at a time; the platform allows six requests. */
  healthConcurrentChecks: 6,
  /** Age at which an isolate asks for the verdicts of active checks again. */
  healthAgeMilliseconds: 3_000,
  /** Age of the configuration by which a pool is checked. */
  healthConfigurationMilliseconds: 10_000,
  /** Replies below this size are not worth compressing. */
  compressFromBytes: 1_024,

  /** Runs by which a canary is judged, the first ones; a look at them reads as many rows. */
  canaryRuns: 100_000,
  /** Runs of the stable version that tell how fast it is: the newest, and how many there must be. */
  canaryLatencyRuns: 1_000,
  canaryLatencyRunsLeast: 20,
  /** Runs of the canary before it may be rolled back, where the author says nothing. */
  canaryMinimumRuns: 10,
  /** Recorded runs that one shadow replay plays. */
  shadowRuns: 100,
  /** Differences that are told of one run. */
  shadowDifferences: 100,
  /** A value of a difference, as JSON in characters. */
  shadowValueCharacters: 4_000,

  /** Applications' webhooks: a payload that the API takes; without a bucket, what fits into a row. */
  messagePayloadBytes: 4 * 1024 * 1024,
  messageRowPayloadBytes: 900 * 1024,
  /** Up to here a payload is delivered in the body; receivers and their proxies commonly refuse 1 MB. */
  inlinePayloadBytes: 256 * 1024,
  /** How long the link to a larger one opens: longer than the retries of a delivery take. */
  payloadLinkMilliseconds: 3 * 24 * 3_600_000,
  messageChannels: 10,
  /** Filters of one application are evaluated for each of its messages. */
  endpointsPerApplication: 50,
  endpointEventTypes: 200,
  endpointHeaders: 20,
  endpointUrlCharacters: 2_048,
  eventTypeCharacters: 128,
  descriptionCharacters: 1_000,
  /** Signing keys that an endpoint has at a time: the current one and those that it replaces. */
  endpointKeys: 4,
  /** How long the old key signs beside the new one, where nobody says otherwise, and at most. */
  keyOverlapSeconds: 24 * 3_600,
  keyOverlapLongestSeconds: 7 * 24 * 3_600,
  /** Default and longest time of one delivery. A receiver that needs longer must answer first and work later. */
  deliveryTimeoutMilliseconds: 15_000,
  deliveryTimeoutLongestMilliseconds: 30_000,
  /** Deliveries of one endpoint at a time: the platform lets six requests wait, one is for the payloads. */
  deliveriesAtOnce: 5,
  /** Kept of a reply: what a person needs to see what went wrong. */
  deliveryBodyBytes: 4 * 1024,
  deliveryHeaders: 30,
  deliveryHeaderCharacters: 500,
  /** Attempts that a delivery keeps, the newest ones; the schedule makes eight, people may ask for more. */
  deliveryAttempts: 20,
  /** Continuous failure after which an endpoint is disabled. */
  endpointFailingMilliseconds: 5 * 24 * 3_600_000,
  /** Failures further apart are not continuous: more than the longest wait of the schedule and a day. */
  endpointSilenceMilliseconds: 36 * 3_600_000,
  /** How soon what a crash or an unreachable object left behind is taken up. */
  outboundLeaseMilliseconds: 30_000,
  /** A wait shorter than this is a timer, which costs no row; a longer one an alarm. */
  outboundTimerMilliseconds: 2_000,
  /** After which a delivery that the gateway itself could not prepare is tried again. */
  outboundPostponeMilliseconds: 30_000,
  /** Age at which an object reads its application or endpoint anew, in case it was not told of a change. */
  outboundSettingsAgeMilliseconds: 60_000,
  /** Messages in one call from object to object; their payloads are under `blobFromBytes` each. */
  outboundBatchMessages: 50,
  outboundBatchCharacters: 4 * 1024 * 1024,
  /** Rows that one turn of pruning or recovering touches, so that others get theirs. */
  outboundRowsPerTurn: 500,
  /** Messages that one call of recover or replay-missing looks at; the answer says where to go on. */
  outboundRowsPerCall: 10_000,

  /** Runs of one page of a list. */
  runsPerPage: 100,
  /** The name of a connection, as it stands in addresses; a step may write an expression for it. */
  connectionNameCharacters: 64,
  connectionCharacters: 512,
  /** OAuth connections whose objects are asked at a time to seal their tokens anew. */
  rotationTokensAtOnce: 6,
  /** Records that one turn of a rotation wraps anew, and turns a minute: a batch of D1 takes 100 statements with ease. */
  rotationBatchRecords: 50,
  rotationBatchesPerMinute: 20,
  /** Records that a rotation names because they cannot be read. */
  rotationUnreadable: 50,
  /** How long decryptions and uses gather in an isolate before they go to D1 in one statement, and how many. */
  accessDelayMilliseconds: 5_000,
  accessesInMemory: 1_000,
  /** How long the access log is kept, and rows that one turn of pruning deletes. */
  accessLogMilliseconds: 90 * 24 * 3_600_000,
  accessRowsPerTurn: 1_000,
  /** How long it is remembered which chains used a connection: also those that run once a year. */
  connectionUsesMilliseconds: 400 * 24 * 3_600_000,
  /** A quota of a connection; providers that allow more need none. */
  quotaUses: 100_000_000,
  accessesPerPage: 100,
  /** A probe is a cheap call; what takes longer is not well. */
  probeTimeoutMilliseconds: 10_000,
  /** Scheduled probes a minute, and at a time: the platform lets six requests wait. */
  probesPerMinute: 30,
  probesAtOnce: 5,
  probeLongestMinutes: 7 * 24 * 60,
  /** When the owner is told that a connection expires: days before. */
  expiryWarningDays: [14, 3, 0],
  /** Connections of one import. */
  importConnections: 500,

  /** Secrets of one webhook source; rotation needs two. */
  sourceSecrets: 16,
  /** Scopes of one API key, each a chain by name; more are `chain:*`. */
  keyScopes: 100,
  /** Wrong admin keys of one address: so many at once, then one each so often; addresses remembered (100 bytes each). */
  wrongKeysBurst: 20,
  wrongKeyMilliseconds: 3_000,
  wrongKeyAddresses: 10_000,
  /** The name that people give to an API key. */
  labelCharacters: 100,

  /** Rules of one `auth`; each that fails may cost a signature check. */
  authRules: 8,
  /** A token as presented; real ones take 1 to 4 KB, and a front end cuts headers at 16 KB or so. */
  tokenCharacters: 8 * 1024,
  /** Tokens and credentials in memory, in each of two generations, of up to 8 KB each. */
  tokensInMemory: 1_000,
  /** After which a token is verified anew, so that a key that its issuer withdrew is not honoured for long. */
  tokenMemoryMilliseconds: 5 * 60_000,
  /** How long the keys of an issuer are used without a look, and how long while it does not answer. */
  jwksFreshMilliseconds: 10 * 60_000,
  jwksStaleLongestMilliseconds: 6 * 3_600_000,
  /** How often, at most, an unknown key or a failure makes an isolate ask an issuer. */
  jwksCooldownMilliseconds: 30_000,
  /** An answer of an issuer; key sets take a few KB. */
  jwksBytes: 256 * 1024,
  jwksTimeoutMilliseconds: 5_000,
  issuersInMemory: 100,
  /** Age of a signed request, and how far the clock of an issuer may be off, at most. */
  signatureWindowLongestMilliseconds: 15 * 60_000,
  clockToleranceLongestMilliseconds: 5 * 60_000,
  /** `Signature-Input` and `Signature`. */
  signatureCharacters: 4 * 1024,
  /** How long a replaced API key may still be used, at most. */
  keyOverlapLongestMilliseconds: 30 * 24 * 3_600_000,
  /** How long the last uses of keys gather before they go to D1 in one statement. */
  keyUseDelayMilliseconds: 1_000,
  /** Keys that were right, in memory, about 300 bytes each. */
  keysInMemory: 20_000,
  /** A credential is not accepted by a configuration that nobody has confirmed for so long. */
  configurationConfirmedMilliseconds: 4_000,
  /** How long a request waits for that; then it goes on with what is in memory. */
  configurationWaitMilliseconds: 1_000,

  /** OAuth: tokens of vendors; some are JWTs with many claims. They travel in a header. */
  oauthTokenCharacters: 16 * 1024,
  /** A token or metadata reply of an authorization server. */
  oauthReplyBytes: 256 * 1024,
  oauthTimeoutMilliseconds: 10_000,
  /** How long before its end a token is renewed, at most; a fifth of a shorter life. */
  oauthRefreshAheadMilliseconds: 5 * 60_000,
  /** How much earlier than its server says a token counts as expired: clocks differ, and a request takes a while. */
  oauthClockSkewMilliseconds: 10_000,
  /** How long an isolate uses a token without asking the object that holds it. */
  oauthTokenMemoryMilliseconds: 60_000,
  /** After a refusal that a refresh did not mend, refusals bring about no other for so long. */
  oauthForcedRefreshMilliseconds: 30_000,
  /** After a refresh that failed and may succeed later. */
  oauthRetryMilliseconds: 2_000,
  /** Metadata of an issuer in the memory of an object. */
  oauthMetadataMilliseconds: 10 * 60_000,
  /** A refresh token that no step used for so long is used by the gateway; servers forget idle ones after 90 and more. */
  oauthIdleDays: 30,
  oauthIdleLongestDays: 365,
  oauthRenewalAheadMilliseconds: 24 * 3_600_000,
  /** After a renewal that failed and may succeed later. */
  oauthRenewalRetryMilliseconds: 3_600_000,
  /** From consent to callback. */
  authorizationMilliseconds: 10 * 60_000,
  /** Authorizations of one connection that are under way at a time; the oldest goes. */
  authorizationsAtOnce: 20,
  /** How long the link to a connect page opens, where nobody says otherwise, and at most. */
  connectLinkSeconds: 3_600,
  connectLinkLongestSeconds: 7 * 24 * 3_600,
  /** Between two questions whether a device was authorized (RFC 8628, section 3.5), and the longest. */
  devicePollSeconds: 5,
  devicePollLongestSeconds: 60,
  deviceLongestSeconds: 1_800,

  /** Subscriptions: how often an object sees to an open one; after an eviction it is back so soon, and a little. */
  subscriptionWatchMilliseconds: 20_000,
  /** The first wait before one is opened again; it doubles. */
  subscriptionRetryMilliseconds: 500,
  /** The longest: after what may pass, and after what somebody has to mend, such as a wrong credential. */
  subscriptionRetryLongestMilliseconds: 60_000,
  subscriptionMendLongestMilliseconds: 15 * 60_000,
  /** What has been open for so long, or has brought an event, begins with the first wait again. */
  subscriptionSteadyMilliseconds: 30_000,
  /** How long one that is told to end may take before another is opened in its place. */
  subscriptionStopMilliseconds: 5_000,
  /** How long runs of an event are offered before the subscription is ended, so that the other side keeps it. */
  subscriptionAcceptMilliseconds: 30_000,
  /** An event with its headers, as a run takes it: what a webhook may bring. */
  subscriptionEventBytes: 900 * 1024,
  /** Events that one call of the run objects takes. */
  subscriptionBatchEvents: 200,
  subscriptionCursorCharacters: 4 * 1024,
  /** The wait that a stream of events may ask for (`retry:`). */
  subscriptionRetryAskedLongestMilliseconds: 5 * 60_000,
  /** From the request to the headers of a stream. */
  streamHeadersMilliseconds: 30_000,
  /** How long a stream may be silent before it counts as lost: by default, at least and at most. */
  streamSilenceMilliseconds: 5 * 60_000,
  streamSilenceLeastMilliseconds: 1_000,
  streamSilenceLongestMilliseconds: 24 * 3_600_000,
  ...DRIVER_LIMITS,
} as const;
