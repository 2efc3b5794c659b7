/** The upstream of both sides, in a process of its own: one fixed JSON answer, as fast as Node can. */

import { createServer, type AddressInfo } from 'node:net';

const BODY = '{"stock":7,"price":12.5,"warehouse":"north"}';
const ANSWER = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`,
);

const server = createServer((socket) => {
  let received = '';
  socket.setNoDelay(true);
  socket.setEncoding('latin1');
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: string) => {
    received += chunk;
    for (let end = received.indexOf('\r\n\r\n'); end !== -1; end = received.indexOf('\r\n\r\n')) {
      received = received.slice(end + 4);
      socket.write(ANSWER);
    }
  });
});
// Whoever started it holds its input open, and may have failed.
process.stdin.on('close', () => process.exit()).resume();
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
