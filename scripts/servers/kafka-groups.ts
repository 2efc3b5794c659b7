/** The topics, consumer groups and instances of the stand-in; see kafka-proxy.ts. */

export interface StoredRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

export interface Topic {
  readonly partitions: StoredRecord[][];
  /** Records whose key and value are larger are refused, each by itself. */
  readonly maxBytes: number;
  /** What Kafka answers to each record in place of taking it. */
  readonly refusal: { readonly code: number; readonly message: string } | undefined;
}

export interface Instance {
  readonly group: string;
  readonly name: string;
  readonly format: string;
  readonly from: string;
  readonly waitMilliseconds: number;
  /** Without it the proxy waits out each poll. */
  readonly isEager: boolean;
  subscribed: readonly string[];
  /** By `topic:partition`, what it reads and from where. */
  positions: Map<string, number>;
  /** Fetched from Kafka, and not yet handed out. */
  buffer: { readonly at: string; readonly offset: number }[];
  isManual: boolean;
  expiresAt: number;
}

export class Cluster {
  readonly topics = new Map<string, Topic>();
  readonly instances = new Map<string, Instance>();
  /** By group, then by `topic:partition`: the offset to go on with, as Kafka has it. */
  readonly committed = new Map<string, Map<string, number>>();
  /** Redpanda's proxy begins at 0 whatever was committed. */
  readonly honoursCommits: boolean;
  #spread = 0;

  constructor(honoursCommits: boolean) {
    this.honoursCommits = honoursCommits;
  }

  committedOf(group: string): Map<string, number> {
    const known = this.committed.get(group) ?? new Map<string, number>();
    this.committed.set(group, known);
    return known;
  }

  partitionAt(at: string): StoredRecord[] | undefined {
    const colon = at.lastIndexOf(':');
    return this.topics.get(at.slice(0, colon))?.partitions[Number(at.slice(colon + 1))];
  }

  append(topic: Topic, record: StoredRecord, wanted: number | undefined): { partition: number; offset: number } {
    const count = topic.partitions.length;
    const chosen = record.key === null ? this.#spread++ : [...record.key].reduce((sum, byte) => sum * 31 + byte, 7);
    const partition = wanted ?? Math.abs(chosen % count);
    const records = topic.partitions[partition] ?? [];
    return { partition, offset: records.push(record) - 1 };
  }

  /** Spreads the partitions over the members; a member whose share changes begins where the group is. */
  rebalance(group: string): void {
    const members = [...this.instances.values()].filter((each) => each.group === group && !each.isManual);
    const shares = new Map<Instance, string[]>(members.map((member) => [member, []]));
    let turn = 0;
    for (const name of new Set(members.flatMap(({ subscribed }) => subscribed))) {
      const takers = members.filter(({ subscribed }) => subscribed.includes(name));
      this.topics.get(name)?.partitions.forEach((_, partition) => {
        const taker = takers[turn++ % takers.length];
        if (taker !== undefined) shares.get(taker)?.push(`${name}:${partition}`);
      });
    }
    for (const [member, share] of shares) {
      if (share.join() === [...member.positions.keys()].join()) continue;
      member.buffer = [];
      member.positions = new Map(share.map((at) => [at, this.#startOf(member, at)]));
    }
  }

  #startOf({ group, from }: Instance, at: string): number {
    if (!this.honoursCommits) return 0;
    return this.committedOf(group).get(at) ?? (from === 'latest' ? (this.partitionAt(at)?.length ?? 0) : 0);
  }

  remove(instance: Instance): void {
    this.instances.delete(`${instance.group}/${instance.name}`);
    this.rebalance(instance.group);
  }

  expire(now: number): void {
    for (const instance of this.instances.values()) if (instance.expiresAt <= now) this.remove(instance);
  }

  /** As a consumer's poll: it moves the position past what it brings, whether that is handed out or not. */
  fetch(instance: Instance, most: number): void {
    for (const [at, position] of instance.positions) {
      const end = Math.min(this.partitionAt(at)?.length ?? 0, position + most - instance.buffer.length);
      for (let offset = position; offset < end; offset++) instance.buffer.push({ at, offset });
      instance.positions.set(at, Math.max(position, end));
    }
  }
}
