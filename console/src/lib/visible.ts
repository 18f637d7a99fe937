// Captured text is hostile. What cannot be seen, or turns the order of what can, is shown as a mark that names it.

export interface Piece { text: string; mark: boolean }

// Controls, formats (right-to-left marks, joiners, tags), lone surrogates, line and paragraph separators.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u00a0\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]/u;

const NAMES: Record<number, string> = { 0: '\\0', 7: '\\a', 8: '\\b', 9: '\\t', 10: '\\n', 11: '\\v', 12: '\\f', 13: '\\r', 27: '\\e' };

function nameOf(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return NAMES[code] ?? `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
}

/** Text in pieces: as it is, or a mark. With `lines`, line feeds stay. */
export function pieces(text: string, lines = false): Piece[] {
  const out: Piece[] = [];
  let plain = '';
  for (const character of text) {
    if (UNSEEN.test(character) && !(lines && character === '\n')) {
      if (plain !== '') out.push({ text: plain, mark: false });
      plain = '';
      out.push({ text: nameOf(character), mark: true });
    } else {
      plain += character;
    }
  }
  if (plain !== '') out.push({ text: plain, mark: false });
  return out;
}

/** The first `most` characters, never half of one, and how many there are in all. */
export function cut(text: string, most: number): { text: string; left: number } {
  if (text.length <= most) return { text, left: 0 };
  let end = most;
  const last = text.charCodeAt(end - 1);
  if (last >= 0xd800 && last <= 0xdbff) end -= 1;
  return { text: text.slice(0, end), left: text.length - end };
}

/** The same as one plain string, for places that take no elements: titles, labels, charts. */
export function plain(text: string, most = 80): string {
  const short = cut(text, most);
  const shown = pieces(short.text).map((piece) => (piece.mark ? `⟨${piece.text}⟩` : piece.text)).join('');
  // Isolates keep letters that run from right to left from reordering what stands around them.
  return `\u2068${shown}${short.left > 0 ? '…' : ''}\u2069`;
}
