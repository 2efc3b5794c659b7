/** The parts of amqplib below its `connect`, which opens sockets; wrangler.toml says where they are. */
declare module 'amqplib/lib/connection.js' {
  import type { EventEmitter } from 'node:events';
  import type { Duplex } from 'node:stream';

  export class Connection extends EventEmitter {
    constructor(stream: Duplex);
    open(fields: Readonly<Record<string, unknown>>, done: (error: Error | null) => void): void;
  }
  const library: { readonly Connection: typeof Connection };
  export default library;
}

declare module 'amqplib/lib/channel_model.js' {
  import type * as amqplib from 'amqplib';
  import type { Connection } from 'amqplib/lib/connection.js';

  const library: { readonly ChannelModel: new (connection: Connection) => amqplib.ChannelModel };
  export default library;
}
