/** RabbitMQ takes over ten seconds to start, so only a test that asks for it starts it: GET answers once it runs. */

import { createServer } from 'node:http';
import { listen, type Running } from '../../scripts/servers/process.ts';
import * as rabbitmq from '../../scripts/servers/rabbitmq.ts';
import { startProxy } from './cutting-proxy.ts';

export type RabbitmqAddress = Omit<rabbitmq.RabbitmqServer, 'stop'> & {
  /** See cutting-proxy.ts. */
  readonly cuttingPort: number;
};

export async function start(options: rabbitmq.RabbitmqOptions): Promise<Running & { readonly url: string }> {
  const running: Running[] = [];
  let starting: Promise<RabbitmqAddress> | undefined;
  const startAll = async (): Promise<RabbitmqAddress> => {
    const server = await rabbitmq.start(options);
    running.push(server);
    const proxy = await startProxy(server.port);
    running.push(proxy);
    return { ...server, cuttingPort: proxy.port };
  };
  const door = await listen(
    createServer((_request, response) => {
      starting ??= startAll();
      starting.then(
        (address) => response.end(JSON.stringify(address)),
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
    }),
  );
  return {
    url: `http://127.0.0.1:${door.port}`,
    stop: async () => {
      await door.stop();
      await starting?.catch(() => undefined);
      await Promise.all(running.map((each) => each.stop()));
    },
  };
}
