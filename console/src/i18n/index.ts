// Texts in the chosen language. Values are put in once: what stands in a value is never read again.

import { en } from './en';
import { fill, type Values } from './fill';
import { zh } from './zh';
import { settings } from '../lib/settings.svelte';

export type Key = keyof typeof en;
export type Dictionary = Record<Key, string>;
export const dictionaries: Record<'en' | 'zh', Dictionary> = { en, zh };

export function t(key: Key, values: Values = {}): string {
  return fill(dictionaries[settings.language][key], values);
}

/** The text of `prefix.word` if there is one, else the word itself: words come from the hub, which may know more of them. */
export function word(prefix: string, text: string): string {
  const key = `${prefix}.${text}`;
  return Object.hasOwn(en, key) ? t(key as Key) : text;
}
