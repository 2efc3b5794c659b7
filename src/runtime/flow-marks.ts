/** What flow control must know beyond the life of a run: when a throttle opens, and which run an idempotency key stands for. */

export interface FlowMarks {
  /** Undefined where there is none, or none any more. */
  read(key: string, now: number): string | undefined;
  write(key: string, value: string, until: number): void;
  /** Those whose key begins with that text. */
  list(prefix: string, now: number): (readonly [key: string, value: string])[];
  prune(now: number): void;
}

export const FLOW_MARKS_SCHEMA = `
  create table flow_marks (key text primary key, value text not null, until integer not null) without rowid;
`;

export const openFlowMarks = (sql: SqlStorage): FlowMarks => ({
  read: (key, now) => {
    const [row] = sql.exec('select value from flow_marks where key = ? and until > ?', key, now).toArray();
    return row && String(row['value']);
  },
  write: (key, value, until) =>
    void sql.exec(
      `insert into flow_marks values (?, ?, ?)
       on conflict (key) do update set value = excluded.value, until = excluded.until`,
      key,
      value,
      Math.ceil(until),
    ),
  list: (prefix, now) =>
    sql
      .exec('select key, value from flow_marks where substr(key, 1, ?) = ? and until > ?', prefix.length, prefix, now)
      .toArray()
      .map((row) => [String(row['key']), String(row['value'])]),
  prune: (now) => void sql.exec('delete from flow_marks where until <= ?', now),
});
