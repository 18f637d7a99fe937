// Requests and problems of the hub, addresses of pages, times.

import { describe, expect, it } from 'vitest';
import { asProblem, Client, queryText, step } from '../src/lib/client';
import { ago, moment, skewMinutes, summary, words } from '../src/lib/format';

const answering = (status: number, body: string, headers: Record<string, string> = {}) => {
  const seen: { address: string; init: RequestInit }[] = [];
  const client = new Client('/api/v1', (address, init) => {
    seen.push({ address, init });
    return Promise.resolve(new Response(status === 204 ? null : body, { status, headers }));
  });
  return { client, seen };
};

describe('client', () => {
  it('marks what changes something, and nothing else', async () => {
    const { client, seen } = answering(200, '{}');
    await client.get('/events', { text: 'a b', after: null });
    await client.post('/people', { name: 'x' });
    expect(seen[0]?.address).toBe('/api/v1/events?text=a+b');
    expect(new Headers(seen[0]?.init.headers).has('X-Aviary')).toBe(false);
    expect(new Headers(seen[1]?.init.headers).get('X-Aviary')).toBe('console');
  });
  it('tells problems with their reason and pause', async () => {
    const { client } = answering(429, '{"title":"Too Many Requests","detail":"wait"}', { 'Retry-After': '30' });
    const problem = asProblem(await client.post('/session').catch((error: unknown) => error));
    expect([problem.status, problem.detail, problem.retryAfter]).toEqual([429, 'wait', 30]);
  });
  it('notices that a session ended, but not that a password was wrong', async () => {
    const { client } = answering(401, 'no JSON');
    let out = 0;
    client.signedOut = () => (out += 1);
    await client.post('/session').catch(() => {});
    expect(out).toBe(0);
    await client.get('/events').catch(() => {});
    expect(out).toBe(1);
  });
  it('gives names one step of a path', () => {
    expect(step('a/b?c#d')).toBe('a%2Fb%3Fc%23d');
    expect([step('..'), step('.')]).toEqual(['%2E%2E', '%2E']);
    expect(queryText({ a: '', b: 0, c: undefined })).toBe('?b=0');
  });
});

describe('format', () => {
  it('shows a moment, and leaves what is none', () => {
    expect(moment('2026-11-25T01:02:03.4Z', true)).toBe('2026-11-25 01:02:03Z');
    expect(moment('=cmd()', true)).toBe('=cmd()');
    expect(ago('2026-11-25T00:00:00Z', Date.parse('2026-11-25T00:05:10Z'), 'en')).toMatch(/^5 min/);
  });
  it('puts what tells most first, whatever logdata is', () => {
    expect(summary({ logdata: { z: 1, PASSWORD: 'p', USERNAME: 'u' } })).toBe('USERNAME=u  PASSWORD=p  z=1');
    expect([summary({}), summary({ logdata: null }), summary({ logdata: 5 }), summary('raw')]).toEqual(['', 'null', '5', 'raw']);
  });
  it('sees a clock that is wrong', () => {
    expect(skewMinutes({ time: '2026-11-25T00:00:00Z', received: '2026-11-25T02:00:00Z' } as never)).toBe(120);
    expect(words(' a, b，c  d ')).toEqual(['a', 'b', 'c', 'd']);
  });
});
