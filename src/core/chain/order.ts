/** Topological order of steps, as stable as the document allows. */

/**
 * @param after for each id, what it waits for; ids not in the map are ignored
 * @returns the order, or a cycle such as `['a', 'b', 'a']`
 */
export function orderSteps(
  after: ReadonlyMap<string, ReadonlySet<string>>,
): { readonly order: readonly string[] } | { readonly cycle: readonly string[] } {
  const order: string[] = [];
  const done = new Set<string>();
  const left = new Set(after.keys());
  while (left.size > 0) {
    const before = order.length;
    for (const id of left) {
      const waits = [...(after.get(id) ?? [])].some((each) => after.has(each) && !done.has(each));
      if (waits) continue;
      order.push(id);
      done.add(id);
      left.delete(id);
    }
    if (order.length === before) return { cycle: cycleIn(after, left) };
  }
  return { order };
}

/** Every step that is left waits for another one that is left, so following any of them comes round. */
function cycleIn(after: ReadonlyMap<string, ReadonlySet<string>>, left: ReadonlySet<string>): readonly string[] {
  const path: string[] = [];
  let [current] = left;
  while (current !== undefined && !path.includes(current)) {
    path.push(current);
    current = [...(after.get(current) ?? [])].find((id) => left.has(id));
  }
  const cycle = path.slice(path.indexOf(current ?? ''));
  return [...cycle, current ?? ''].reverse();
}
