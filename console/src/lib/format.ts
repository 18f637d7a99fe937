// Numbers, times and parts of events as text.

import type { Event, Line, LiveEvent } from './types';

const two = (value: number): string => String(value).padStart(2, '0');

/** `2026-11-25 10:12:31` in the chosen zone; what is no time stays as it is. */
export function moment(text: string, utc: boolean): string {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  const [year, month, day, hours, minutes, seconds] = utc
    ? [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()]
    : [date.getFullYear(), date.getMonth(), date.getDate(), date.getHours(), date.getMinutes(), date.getSeconds()];
  return `${year}-${two(month + 1)}-${two(day)} ${two(hours)}:${two(minutes)}:${two(seconds)}${utc ? 'Z' : ''}`;
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [['day', 86_400], ['hour', 3600], ['minute', 60], ['second', 1]];

/** `5 minutes ago` */
export function ago(text: string, now: number, language: string): string {
  const seconds = (new Date(text).getTime() - now) / 1000;
  if (Number.isNaN(seconds)) return text;
  const [unit, size] = STEPS.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1];
  return new Intl.RelativeTimeFormat(language, { numeric: 'auto', style: 'short' }).format(Math.trunc(seconds / size), unit);
}

export function number(value: number, language: string): string {
  return new Intl.NumberFormat(language).format(value);
}

/** The line of an event; one that is no object has nothing to tell. */
export function lineOf(event: Pick<Event | LiveEvent, 'event'>): Line {
  return typeof event.event === 'object' && event.event !== null ? event.event : {};
}

/** What an event says in a few words: the members of `logdata`, the telling ones first. */
export function summary(line: Line | string): string {
  if (typeof line === 'string') return line;
  const data = line.logdata;
  if (typeof data !== 'object' || data === null) return data === undefined ? '' : String(data);
  const telling = ['USERNAME', 'PASSWORD', 'CMD', 'PATH', 'msg'];
  const rank = (key: string) => (telling.includes(key) ? telling.indexOf(key) : telling.length);
  return Object.entries(data as Record<string, unknown>)
    .sort(([a], [b]) => rank(a) - rank(b))
    .slice(0, 12)
    .map(([key, value]) => `${key}=${(typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).slice(0, 200)}`)
    .join('  ');
}

/** Minutes from when an event says it happened to when it came; a wrong clock shows. */
export function skewMinutes(event: Event): number {
  const between = (new Date(event.received).getTime() - new Date(event.time).getTime()) / 60_000;
  return Number.isFinite(between) ? Math.round(between) : 0;
}

/** Words in a field that takes several, by commas or spaces. */
export function words(text: string): string[] {
  return text.split(/[\s,，]+/).filter((word) => word !== '');
}

/** `datetime-local` to RFC 3339 and back, in the zone of this browser. */
export function fromInput(text: string): string {
  const date = new Date(text);
  return text === '' || Number.isNaN(date.getTime()) ? '' : date.toISOString();
}

export function toInput(text: string): string {
  const date = new Date(text);
  if (text === '' || Number.isNaN(date.getTime())) return '';
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;
}
