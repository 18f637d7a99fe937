// Arithmetic of lists of any length: which rows are on the screen, and which pages of rows are kept.

/** Tallest element that every browser lays out rightly. */
export const TALLEST = 15_000_000;

export interface Window { first: number; last: number; offset: number; height: number }

/** The rows to draw, `first` up to `last` without it, and where. Past `TALLEST` the scroll bar is scaled. */
export function windowOf(count: number, row: number, viewport: number, scroll: number, beyond = 6): Window {
  const whole = count * row;
  const height = Math.min(whole, TALLEST);
  const range = Math.max(0, height - viewport);
  const at = Math.min(Math.max(0, scroll), range);
  const real = range === 0 ? 0 : (at / range) * Math.max(0, whole - viewport);
  const top = Math.floor(real / row);
  const first = Math.max(0, top - beyond);
  const last = Math.min(count, Math.ceil((real + viewport) / row) + beyond);
  return { first, last: Math.max(first, last), offset: at - (real - first * row), height };
}

/** Where to scroll so that a row is seen. */
export function scrollTo(index: number, count: number, row: number, viewport: number, scroll: number): number {
  const whole = count * row;
  const range = Math.max(0, Math.min(whole, TALLEST) - viewport);
  const span = Math.max(0, whole - viewport);
  if (range === 0 || span === 0) return 0;
  const real = (scroll / range) * span;
  let wanted = real;
  if (index * row < real) wanted = index * row;
  else if ((index + 1) * row > real + viewport) wanted = (index + 1) * row - viewport;
  return (Math.min(wanted, span) / span) * range;
}

export interface Slice<T> { rows: T[]; next: string | null }
type Load<T> = (after: string | null) => Promise<Slice<T>>;
interface Kept<T> { after: string | null; start: number; size: number; rows: T[] | null }

/**
 * Rows behind a cursor. Pages far from the screen are forgotten and asked for again, so that memory is bounded however far
 * somebody scrolls.
 */
export class Pages<T> {
  #pages: Kept<T>[] = [];
  #next: string | null = null;
  #begun = false;
  readonly #asked = new Set<number>();
  readonly #load: Load<T>;
  readonly #keep: number;

  constructor(load: Load<T>, keep = 12) {
    this.#load = load;
    this.#keep = keep;
  }

  get count(): number {
    const last = this.#pages.at(-1);
    return last ? last.start + last.size : 0;
  }

  get done(): boolean {
    return this.#begun && this.#next === null;
  }

  /** How many rows are in memory. */
  get held(): number {
    return this.#pages.reduce((sum, page) => sum + (page.rows?.length ?? 0), 0);
  }

  row(index: number): T | undefined {
    const page = this.#pages[this.#pageOf(index)];
    return page?.rows?.[index - page.start];
  }

  #pageOf(index: number): number {
    let low = 0;
    let high = this.#pages.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#pages[middle]?.start ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Brings the next page; says whether something came. */
  async more(): Promise<boolean> {
    const number = this.#pages.length;
    if (this.done || this.#asked.has(number)) return false;
    this.#asked.add(number);
    try {
      const after = this.#next;
      const slice = await this.#load(after);
      this.#pages.push({ after, start: this.count, size: slice.rows.length, rows: slice.rows });
      this.#next = slice.next;
      this.#begun = true;
      return true;
    } finally {
      this.#asked.delete(number);
    }
  }

  /** Sees that these rows are in memory, and lets go of what is far from them. */
  async want(first: number, last: number): Promise<boolean> {
    const from = this.#pageOf(first);
    const to = this.#pageOf(Math.max(first, last - 1));
    let came = false;
    for (let number = from; number <= to; number += 1) {
      const page = this.#pages[number];
      if (!page || page.rows !== null || this.#asked.has(number)) continue;
      this.#asked.add(number);
      try {
        const { rows } = await this.#load(page.after);
        // What comes again has the size that it had: rows below must not move.
        page.rows = rows.slice(0, page.size);
        came = true;
      } finally {
        this.#asked.delete(number);
      }
    }
    const middle = (from + to) >> 1;
    for (const [number, page] of this.#pages.entries()) {
      if (Math.abs(number - middle) > this.#keep / 2 && (number < from || number > to)) page.rows = null;
    }
    return came;
  }
}
