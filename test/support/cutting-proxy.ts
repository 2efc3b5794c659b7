/**
 * A TCP proxy that does what its client's bytes say, so that a test decides where a connection breaks: at `CUT-HERE`
 * it drops both sides, the bytes undelivered; at `CUT-REPLY` it passes them on and drops what would answer; at
 * `STALL-HERE` it passes nothing on any more. At `CUT-DELIVERY` from the server it drops both sides as well.
 */

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { portOf, type Running } from '../../scripts/servers/process.ts';

export async function startProxy(targetPort: number): Promise<Running & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const target = connect(targetPort, '127.0.0.1');
    const cut = (): void => {
      client.destroy();
      target.destroy();
    };
    let mode: 'pass' | 'cut reply' | 'stall' = 'pass';
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.on('error', cut);
      socket.on('close', () => {
        sockets.delete(socket);
        cut();
      });
    }
    client.on('data', (bytes) => {
      if (bytes.includes('CUT-HERE')) return cut();
      if (bytes.includes('STALL-HERE')) mode = 'stall';
      if (bytes.includes('CUT-REPLY')) mode = 'cut reply';
      if (mode !== 'stall') target.write(bytes);
    });
    target.on('data', (bytes) => {
      if (mode === 'cut reply' || bytes.includes('CUT-DELIVERY')) cut();
      else if (mode === 'pass') client.write(bytes);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: portOf(server),
    stop: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}
