/** What the compiler of a step is told of where it stands. */

import type { Catalogue } from './catalogue.ts';
import type { StepDocument } from './document.ts';
import type { IssueList } from './issues.ts';
import type { Mode, StepPlan } from './plan.ts';

/** Where a graph stands in its document, and what its expressions may refer to besides its own steps. */
export interface Surroundings {
  readonly mode: Mode;
  readonly catalogue: Catalogue;
  readonly issues: IssueList;
  /** Path in the document, e.g. `steps` or `steps.items.with.steps`. */
  readonly at: string;
  /** Ids of the steps around it, e.g. `['items']`. */
  readonly within: readonly string[];
  readonly roots: readonly string[];
  /** Steps outside that have settled when these begin. */
  readonly outer: readonly string[];
  /** Compiles a graph inside of this one. */
  graph(documents: Readonly<Record<string, StepDocument>>, around: Surroundings): Graph;
}

export interface Graph {
  readonly steps: readonly StepPlan[];
  /** Steps outside that it refers to. */
  readonly refersTo: readonly string[];
}
