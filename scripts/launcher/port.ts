import { createServer } from 'node:net';
import { LaunchProblem } from './problem.ts';

/**
 * The port itself, or a free one for 0. Tried before anything that takes time.
 * @throws LaunchProblem when it is taken or may not be used
 */
export function checkPort(host: string, port: number): Promise<number> {
  const server = createServer();
  return new Promise((done, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) => fail(new LaunchProblem(explain(error, host, port))));
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => done(typeof address === 'object' && address !== null ? address.port : port));
    });
  });
}

function explain(error: NodeJS.ErrnoException, host: string, port: number): string {
  if (error.code === 'EADDRINUSE') {
    return `Port ${port} on ${host} is taken by another program. Choose another one: npm start -- --port ${port + 1}`;
  }
  if (error.code === 'EACCES') return `Port ${port} needs the rights of root. Choose one above 1023 with --port.`;
  if (error.code === 'EADDRNOTAVAIL') return `This machine has no address ${host}. Choose another one with --host.`;
  return `Port ${port} on ${host} cannot be used: ${error.message}`;
}
