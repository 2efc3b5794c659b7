/**
 * Streams of server-sent events with a memory, as a part of the upstream.
 *
 * `GET /events/<topic>` sends the events after `Last-Event-ID`, then those that come; `?lines` as JSON lines without
 * ids, `?retry=<milliseconds>` with that wish, `?type=<content type>` under that name. `POST /events/<topic>` adds
 * each line of its body; `PUT /events/<topic>/close` cuts what is open, `gone` answers 204 from then on, `open` ends that.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';

interface Topic {
  readonly events: string[];
  readonly streams: Map<ServerResponse, (from: number) => void>;
  isGone: boolean;
}

export interface StreamCall {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly rest: readonly string[];
  readonly body: string;
}

export function createTopics(): (call: StreamCall) => void {
  const topics = new Map<string, Topic>();
  const topicOf = (name: string): Topic => {
    const known = topics.get(name) ?? { events: [], streams: new Map(), isGone: false };
    topics.set(name, known);
    return known;
  };
  return ({ request, response, url, rest: [name = '', order], body }) => {
    const topic = topicOf(name);
    if (request.method === 'GET') return follow(topic, request, response, url.searchParams);
    const from = topic.events.length;
    if (request.method === 'POST') topic.events.push(...body.split('\n').filter((line) => line !== ''));
    if (order === 'close') for (const stream of topic.streams.keys()) stream.destroy();
    if (order === 'gone' || order === 'open') topic.isGone = order === 'gone';
    for (const send of topic.streams.values()) send(from);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ events: topic.events.length, streams: topic.streams.size }));
  };
}

function follow(topic: Topic, request: IncomingMessage, response: ServerResponse, query: URLSearchParams): void {
  if (topic.isGone) return void response.writeHead(204).end();
  const isLines = query.has('lines');
  const usual = isLines ? 'application/x-ndjson' : 'text/event-stream';
  response.writeHead(200, { 'content-type': query.get('type') ?? usual });
  const retry = query.get('retry');
  // Something to begin with: the runtime hands the headers over with the first piece.
  if (!isLines) response.write(retry === null ? ': hello\n\n' : `retry: ${retry}\n\n`);
  const send = (from: number): void => {
    for (let at = from; at < topic.events.length; at++) {
      response.write(isLines ? `${topic.events[at]}\n` : `id: ${at + 1}\ndata: ${topic.events[at]}\n\n`);
    }
  };
  topic.streams.set(response, send);
  response.once('close', () => topic.streams.delete(response));
  response.flushHeaders();
  send(Number(request.headers['last-event-id'] ?? 0));
}
