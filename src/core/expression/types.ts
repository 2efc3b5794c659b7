/** What an expression sees as its root: `trigger`, `input`, `steps`, `run`, `chain`. */
export type Scope = Readonly<Record<string, unknown>>;

/** A JSON value in which texts may hold `{{ expression }}`, compiled once. */
export interface Template {
  /** The value itself where it holds no expression; evaluate() then returns it as is. */
  readonly literal: boolean;
  /** The same scope always gives the same value: no `$random` or `$shuffle` in it. */
  readonly deterministic: boolean;
  /** It asks for the time, by `$now` or `$millis`: the same within a run, another in the next. */
  readonly timed: boolean;
  /** The steps it refers to (`steps.<id>…`), each once, in order of appearance. */
  readonly steps: readonly string[];
  /** The roots it refers to, e.g. `trigger`, where that can be told. */
  readonly roots: readonly string[];
  /**
   * The value in a scope; a promise only where an expression had to be handed to the jsonata library.
   * @throws FaultError `expression.missing` | `expression.failed` | `expression.bounds`, also by rejection
   */
  evaluate(scope: Scope): unknown;
}
