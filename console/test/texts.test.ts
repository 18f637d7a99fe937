// Both languages say everything, with the same places for values.

import { describe, expect, it } from 'vitest';
import { en } from '../src/i18n/en';
import { zh } from '../src/i18n/zh';
import { fill } from '../src/i18n/fill';

const places = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();

describe('texts', () => {
  it('exist in both languages with the same places', () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
    for (const [key, text] of Object.entries(en)) expect(places(zh[key as keyof typeof en]), key).toEqual(places(text));
  });
  it('are Chinese in Chinese', () => {
    const same = Object.entries(en).filter(([key, text]) => zh[key as keyof typeof en] === text && /[a-z]{4}/.test(text)).map(([key]) => key);
    expect(same.length, same.join(', ')).toBeLessThan(6);
  });
  it('never read a value again', () => {
    expect(fill('{a} {b} {c}', { a: '{b}', b: '$&' })).toBe('{b} $& {c}');
    expect(fill('{toString}', {})).toBe('{toString}');
  });
});
