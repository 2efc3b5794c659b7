/** A binary heap whose items know their place, so that one of them can leave or move at any time. */

export interface Placed {
  /** Index in the heap that holds the item; -1 while none does. */
  place: number;
}

export class Heap<T extends Placed> {
  readonly #items: T[] = [];
  readonly #before: (a: T, b: T) => boolean;

  /** @param before whether `a` leaves the heap before `b`; never both ways */
  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    this.#items.push(item);
    this.#rise(item, this.#items.length - 1);
  }

  pop(): T | undefined {
    const first = this.#items[0];
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Does nothing for an item that is in no heap. */
  remove(item: T): void {
    const { place } = item;
    if (place < 0) return;
    item.place = -1;
    const last = this.#items.pop();
    if (last === undefined || last === item) return;
    last.place = place;
    this.moved(last);
  }

  /** Restores the order after that of one item has changed. */
  moved(item: T): void {
    this.#rise(item, item.place);
    this.#sink(item, item.place);
  }

  #put(item: T, place: number): void {
    this.#items[place] = item;
    item.place = place;
  }

  #rise(item: T, from: number): void {
    let place = from;
    while (place > 0) {
      const parent = this.#items[(place - 1) >> 1];
      if (parent === undefined || !this.#before(item, parent)) break;
      this.#put(parent, place);
      place = (place - 1) >> 1;
    }
    this.#put(item, place);
  }

  #sink(item: T, from: number): void {
    let place = from;
    for (;;) {
      const left = this.#items[2 * place + 1];
      const right = this.#items[2 * place + 2];
      const child = left !== undefined && right !== undefined && this.#before(right, left) ? right : left;
      if (child === undefined || !this.#before(child, item)) break;
      const next = child.place;
      this.#put(child, place);
      place = next;
    }
    this.#put(item, place);
  }
}
