// Which rows are on the screen, and which are in memory.

import { describe, expect, it } from 'vitest';
import { Pages, TALLEST, windowOf } from '../src/lib/virtual';

describe('windowOf', () => {
  it('draws a screen and a little more', () => {
    expect(windowOf(1000, 40, 400, 4000, 5)).toEqual({ first: 95, last: 115, offset: 3800, height: 40_000 });
    expect(windowOf(3, 40, 400, 0)).toEqual({ first: 0, last: 3, offset: 0, height: 120 });
    expect(windowOf(0, 40, 400, 0)).toEqual({ first: 0, last: 0, offset: 0, height: 0 });
  });
  it('reaches the last of a million rows within what a browser can lay out', () => {
    const at = windowOf(1_000_000, 40, 400, TALLEST);
    expect(at.height).toBe(TALLEST);
    expect(at.last).toBe(1_000_000);
    expect(at.last - at.first).toBeLessThan(30);
  });
});

describe('Pages', () => {
  const source = (count: number, size: number) => {
    const asked: (string | null)[] = [];
    const load = (after: string | null) => {
      asked.push(after);
      const from = Number(after ?? 0);
      const rows = Array.from({ length: Math.min(size, count - from) }, (_, n) => from + n);
      return Promise.resolve({ rows, next: from + size < count ? String(from + size) : null });
    };
    return { asked, load };
  };
  it('brings page after page and knows the end', async () => {
    const pages = new Pages(source(25, 10).load);
    while (await pages.more());
    expect([pages.count, pages.done, pages.row(0), pages.row(24), pages.row(25)]).toEqual([25, true, 0, 24, undefined]);
  });
  it('forgets what is far away and asks for it again by its cursor', async () => {
    const { asked, load } = source(1000, 10);
    const pages = new Pages(load, 4);
    while (await pages.more());
    await pages.want(990, 1000);
    expect(pages.held).toBeLessThanOrEqual(50);
    expect(pages.row(15)).toBeUndefined();
    expect(await pages.want(12, 18)).toBe(true);
    expect(pages.row(15)).toBe(15);
    expect(asked.at(-1)).toBe('10');
  });
  it('takes no page twice when asked twice at once', async () => {
    const { asked, load } = source(25, 10);
    const pages = new Pages(load);
    await Promise.all([pages.more(), pages.more()]);
    expect(asked).toEqual([null]);
  });
  it('asks again after a failure', async () => {
    let fail = true;
    const pages = new Pages(() => (fail ? Promise.reject(new Error('down')) : Promise.resolve({ rows: [1], next: null })));
    await expect(pages.more()).rejects.toThrow('down');
    fail = false;
    expect(await pages.more()).toBe(true);
    expect(pages.row(0)).toBe(1);
  });
});
