// Captured text as it is shown: nothing unseen passes, nothing is lost.

import { describe, expect, it } from 'vitest';
import { HOSTILE } from '../mock/data.mjs';
import { cut, pieces, plain } from '../src/lib/visible';

describe('pieces', () => {
  it('names controls, marks of direction and lone surrogates', () => {
    expect(pieces('a\u001b[31m\u202eb\ud800')).toEqual([
      { text: 'a', mark: false }, { text: '\\e', mark: true }, { text: '[31m', mark: false },
      { text: 'U+202E', mark: true }, { text: 'b', mark: false }, { text: 'U+D800', mark: true },
    ]);
  });
  it('keeps letters of every script and pairs of surrogates', () => {
    expect(pieces('密码 пароль 🔑é')).toEqual([{ text: '密码 пароль 🔑é', mark: false }]);
  });
  it('keeps line feeds only where lines are wanted', () => {
    expect(pieces('a\nb', true)).toEqual([{ text: 'a\nb', mark: false }]);
    expect(pieces('a\nb')).toHaveLength(3);
  });
  it('lets no unseen character of a hostile text through', () => {
    for (const text of HOSTILE) {
      const shown = pieces(cut(text, 5000).text).map((piece) => piece.text).join('');
      expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]/u);
    }
  });
});

describe('cut', () => {
  it('never leaves half of a character', () => {
    expect(cut('a🔑b', 2)).toEqual({ text: 'a', left: 3 });
    expect(cut('a🔑b', 3)).toEqual({ text: 'a🔑', left: 1 });
    expect(cut('abc', 3)).toEqual({ text: 'abc', left: 0 });
  });
});

describe('plain', () => {
  it('isolates what runs from right to left and says that it was cut', () => {
    expect(plain('שלום', 80)).toBe('\u2068שלום\u2069');
    expect(plain('a\u0000b')).toBe('\u2068a⟨\\0⟩b\u2069');
    expect(plain('x'.repeat(100), 10)).toBe(`\u2068${'x'.repeat(10)}…\u2069`);
  });
});
