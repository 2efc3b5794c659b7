/** Server-sent events as they are parsed: WHATWG HTML, section 9.2.6 "Interpreting an event stream". */

export interface ServerSentEvent {
  /** `message` where the stream names none. */
  readonly type: string;
  readonly data: string;
  /** The `id` of this very event; undefined where it has none. */
  readonly id: string | undefined;
  /** What `Last-Event-ID` is after it; empty where the stream has given none, or taken it back. */
  readonly lastId: string;
}

/** Takes the stream in pieces, cut anywhere between characters; decoding and its byte order mark are for the caller. */
export class EventStreamParser {
  /** What the stream last asked for as the wait before it is opened again. */
  retryMilliseconds: number | undefined;
  #lastId: string;
  #rest = '';
  /** A line feed now would belong to the carriage return before it. */
  #afterReturn = false;
  #type = '';
  #data: string[] = [];
  #dataCharacters = 0;
  #id: string | undefined;

  /** @param lastId where the stream was left */
  constructor(lastId = '') {
    this.#lastId = lastId;
  }

  /** Characters that are held until their event is whole. */
  get heldCharacters(): number {
    return this.#rest.length + this.#dataCharacters;
  }

  push(text: string): ServerSentEvent[] {
    const fresh = this.#afterReturn && text.startsWith('\n') ? text.slice(1) : text;
    if (text !== '') this.#afterReturn = text.endsWith('\r');
    // Only what is new is searched: a line may come in many pieces.
    const ends = /\r\n|\n|\r/g;
    const events: ServerSentEvent[] = [];
    let from = 0;
    for (let end = ends.exec(fresh); end !== null; end = ends.exec(fresh)) {
      const line = this.#rest + fresh.slice(from, end.index);
      this.#rest = '';
      from = ends.lastIndex;
      const event = line === '' ? this.#dispatch() : this.#field(line);
      if (event !== undefined) events.push(event);
    }
    this.#rest += fresh.slice(from);
    return events;
  }

  #field(line: string): undefined {
    const colon = line.indexOf(':');
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line.startsWith(' ', colon + 1) ? colon + 2 : colon + 1);
    if (name === 'event') this.#type = value;
    else if (name === 'data') {
      this.#data.push(value);
      this.#dataCharacters += value.length + 1;
    } else if (name === 'id' && !value.includes('\0')) {
      this.#id = value;
      this.#lastId = value;
    } else if (name === 'retry' && /^[0-9]+$/.test(value)) this.retryMilliseconds = Number(value);
  }

  #dispatch(): ServerSentEvent | undefined {
    const [type, data, id] = [this.#type, this.#data, this.#id];
    this.#type = '';
    this.#data = [];
    this.#dataCharacters = 0;
    this.#id = undefined;
    if (data.length === 0) return undefined;
    return {
      type: type === '' ? 'message' : type,
      data: data.join('\n'),
      id: id === '' ? undefined : id,
      lastId: this.#lastId,
    };
  }
}
