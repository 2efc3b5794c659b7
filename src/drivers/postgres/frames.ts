/** The state of a session's transaction, read off the bytes of the server: postgres.js does not tell it. */

const READY_FOR_QUERY = 'Z'.charCodeAt(0);

/** Follows the messages of the server (a type, four bytes of length, a body) for the one that tells the state. */
export class Frames {
  private readonly header: number[] = [];
  private left = 0;
  private readonly onReady: (status: string) => void;

  constructor(onReady: (status: string) => void) {
    this.onReady = onReady;
  }

  /** What is missing of the message that has begun. */
  get pendingBytes(): number {
    return this.left;
  }

  take(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length;) {
      if (this.left > 0) {
        if (this.header[0] === READY_FOR_QUERY) this.onReady(String.fromCharCode(chunk[at] ?? 0));
        const step = Math.min(this.left, chunk.length - at);
        this.left -= step;
        at += step;
        if (this.left === 0) this.header.length = 0;
        continue;
      }
      this.header.push(chunk[at] ?? 0);
      at += 1;
      if (this.header.length < 5) continue;
      const [, a = 0, b = 0, c = 0, d = 0] = this.header;
      this.left = ((a << 24) | (b << 16) | (c << 8) | d) - 4;
      if (this.left <= 0) this.header.length = 0;
    }
  }
}
