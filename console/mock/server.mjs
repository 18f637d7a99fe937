// A hub that does not exist: the built console, and every route that it asks. `node mock/server.mjs [--hostile] [--fresh] [--port N]`

import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeData } from './data.mjs';

// A build of its own, if told so: cargo may be at `dist` at the same time.
const DIST = process.env.AVIARY_DIST ?? join(dirname(fileURLToPath(import.meta.url)), '../dist');
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml' };
/** The policy of `crates/api/src/console.rs`; the test of the two languages compares them. */
export const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
export const PASSWORD = 'correct horse battery';
const SCOPES = { viewer: ['read'], analyst: ['read', 'act'], admin: ['read', 'act', 'administer'] };

class Refused extends Error {
  constructor(status, detail, more = {}) {
    super(detail);
    Object.assign(this, { status, more });
  }
}

export function start({ hostile = false, fresh = false, port = 0 } = {}) {
  const data = makeData({ hostile, count: hostile ? 240 : 4000 });
  const hour = 3_600_000;
  const state = {
    session: null, needed: fresh, totp: false,
    people: ['mei:admin', 'ada:analyst', 'olu:viewer'].map((both, n) => ({ name: both.split(':')[0], role: both.split(':')[1], totp: n === 0, joined: true, last_sign_in: n === 2 ? null : data.at(n * hour), locked: n === 2, version: 1 })),
    tokens: [{ key: 't1', name: 'splunk reader', scopes: ['read'], sensor: null, nodes: [], created: data.at(90 * 24 * hour), last_used: data.at(60_000) }],
    suppressions: [{ name: 'vulnerability scanner', reason: 'Nessus scans every night', owner: 'ada', expires: data.at(-30 * 24 * hour), over: false, match: { sources: ['10.0.0.0/24'], services: ['ssh'] }, hits: 98, last_hit: data.at(hour), version: 1 }],
    channels: [{ name: 'on call', class: 'aviary.webhook', options: { url: '***' }, version: 1, state: 'ok', last_error: null }, { name: 'mail', class: 'aviary.mail', options: { to: 'soc@example.test', password: '***' }, version: 2, state: 'failing', last_error: 'connection refused' }],
    policies: [{ name: 'wake somebody', version: 1, severity: 'critical', kinds: [], groups: [], schedule: null, channels: ['on call'], budget: { messages: 6, per: '1h' }, digest: null, enabled: true }],
    searches: [{ name: 'root over ssh', query: { service: 'ssh', field: 'USERNAME=root' } }],
    configs: { dmz: { group: 'dmz', versions: [{ version: 1, by: 'mei', at: data.at(72 * hour), state: 'applied', why: '' }, { version: 2, by: 'ada', at: data.at(hour), state: 'draft', why: '' }], applied: 1, current: '{\n  "ssh.enabled": true\n}\n', newest: '{\n  "ssh.enabled": true,\n  "redis.enabled": true\n}\n' } },
    audit: Array.from({ length: 140 }, (_, n) => ({ time: data.at(n * hour), by: n % 3 ? 'ada' : 'mei', kind: n % 2 ? 'suppression' : 'policy', key: `change ${n}`, change: ['created', 'changed', 'removed'][n % 3], before: null, after: { reason: 'because' } })),
    requests: [],
  };
  const page = (all, query, name, most = 100) => {
    const from = Number(query.get('after') ?? 0);
    const limit = Math.min(Number(query.get('limit') ?? most), 1000);
    return { [name]: all.slice(from, from + limit), next: from + limit < all.length ? String(from + limit) : null };
  };
  const found = (value) => {
    if (value === undefined) throw new Refused(404, 'there is no such thing');
    return value;
  };
  const search = (query) => data.events.filter((event) => {
    const line = event.event;
    const text = JSON.stringify(line.logdata).toLowerCase();
    const is = (name, value) => !query.get(name) || query.get(name) === String(value);
    const [key, value] = (query.get('field') ?? '').split('=');
    return is('source', line.src_host) && is('service', line.aviary.service) && is('sensor', event.sensor) && is('port', line.dst_port) && is('stage', event.stage) && is('kind', line.aviary.kind.split('.')[1]) && is('hidden', event.hidden !== null) && (!key || String(line.logdata[key]) === value) && (!query.get('since') || event.time >= query.get('since')) && (query.get('text') ?? '').toLowerCase().split(/\s+/).every((word) => text.includes(word));
  });
  const credentials = () => {
    const all = new Map();
    for (const event of data.events) {
      const { USERNAME: username, PASSWORD: password } = event.event.logdata;
      if (username === undefined) continue;
      const key = JSON.stringify([username, password]);
      const one = all.get(key) ?? { username, password, count: 0, from: new Set(), in: new Set(), first: event.time, last: event.time };
      one.count += 1;
      one.from.add(event.event.src_host);
      one.in.add(event.event.aviary.service);
      one.first = event.time;
      all.set(key, one);
    }
    return [...all.values()].sort((a, b) => b.count - a.count).map(({ from, in: services, ...one }) => ({ ...one, sources: from.size, services: [...services], sha256: createHash('sha256').update(one.password).digest('hex') }));
  };
  const sourceOf = (source) => {
    const own = data.events.filter((event) => event.event.src_host === source);
    const incident = data.incidents.find((one) => one.source === source);
    return { source, realm: '', first: own.at(-1)?.time ?? data.at(0), last: own[0]?.time ?? data.at(0), events: own.length, incidents: 1, severity: incident?.severity ?? null, services: [...new Set(own.map((event) => event.event.aviary.service))], sensors: [...new Set(own.map((event) => event.sensor))], credentials: own.filter((event) => event.event.logdata.USERNAME !== undefined).length };
  };
  const trend = () => Array.from({ length: 48 }, (_, n) => {
    const from = data.now - (48 - n) * hour;
    const kinds = {};
    for (const event of data.events) {
      const when = Date.parse(event.time);
      if (when >= from && when < from + hour) {
        const kind = event.event.aviary.kind.split('.')[1];
        kinds[kind] = (kinds[kind] ?? 0) + 1;
      }
    }
    return { hour: new Date(from).toISOString(), kinds };
  });
  const ranked = (of) => {
    const counts = new Map();
    for (const event of data.events) counts.set(of(event), (counts.get(of(event)) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 8);
  };
  const upsert = (list, body, more = {}) => {
    const index = list.findIndex((one) => one.name === body.name);
    const version = index < 0 ? 1 : (list[index].version ?? 0) + 1;
    const made = { ...(list[index] ?? more), ...body, version };
    if (index < 0) list.push(made);
    else list[index] = made;
    return made;
  };
  const drop = (list, name, key = 'name') => {
    const index = list.findIndex((one) => one[key] === name);
    if (index < 0) throw new Refused(404, 'there is no such thing');
    list.splice(index, 1);
  };
  const sessionOf = (name, role) => ({ name, role, scopes: SCOPES[role], totp: state.totp, expires: data.at(-12 * hour) });

  /** `METHOD /path` with `:` for one step. */
  const ROUTES = {
    'GET /setup': () => ({ needed: state.needed }),
    'POST /setup': ({ body }) => {
      if (body.token !== 'welcome') throw new Refused(401, 'this token is not, or no more, good');
      state.needed = false;
      return (state.session = sessionOf(body.name ?? 'ada', 'admin'));
    },
    'GET /session': () => state.session,
    'POST /session': ({ body }) => {
      const person = state.people.find((one) => one.name === body.name);
      if (!person || body.password !== PASSWORD) throw new Refused(401, 'name or password is wrong');
      if (person.totp && body.code === undefined) throw new Refused(401, 'a code is needed', { code_needed: true });
      if (person.totp && body.code !== '123456') throw new Refused(401, 'the code is wrong', { code_needed: true });
      return (state.session = sessionOf(person.name, person.role));
    },
    'DELETE /session': () => void (state.session = null),
    'PUT /session/password': ({ body }) => {
      if (body.old !== PASSWORD) throw new Refused(403, 'the present password is wrong');
    },
    'POST /session/totp': () => ({ secret: 'JBSWY3DPEHPK3PXP', uri: 'otpauth://totp/Aviary:mei?secret=JBSWY3DPEHPK3PXP&issuer=Aviary' }),
    'PUT /session/totp': ({ body }) => {
      if (body.code !== '123456') throw new Refused(400, 'the code is wrong');
      state.totp = true;
      state.session = { ...state.session, totp: true };
    },
    'DELETE /session/totp': () => {
      state.totp = false;
      state.session = { ...state.session, totp: false };
    },
    'GET /overview': () => {
      const open = {};
      for (const one of data.incidents) if (one.state === 'open') open[one.severity] = (open[one.severity] ?? 0) + 1;
      const count = (word) => data.sensors.filter((one) => one.state === word).length;
      return { incidents: { open, new_24h: 23 }, latest: data.incidents.slice(0, 8), sensors: { total: data.sensors.length, alive: count('alive'), blind: count('blind'), late: count('late'), silent: count('silent') }, trend: trend(), top_sources: ranked((event) => event.event.src_host).map(([source, events]) => ({ source, events })), top_services: ranked((event) => event.event.aviary.service).map(([service, events]) => ({ service, events })) };
    },
    'GET /incidents': ({ query }) => {
      const order = ['informational', 'low', 'medium', 'high', 'critical'];
      return page(data.incidents.filter((one) => (!query.get('state') || one.state === query.get('state')) && (!query.get('severity') || order.indexOf(one.severity) >= order.indexOf(query.get('severity')))), query, 'incidents');
    },
    'GET /incidents/:': ({ names: [number] }) => found(data.incidents.find((one) => one.number === Number(number))),
    'POST /incidents/:/decisions': ({ names: [number], body }) => {
      const one = found(data.incidents.find((one) => one.number === Number(number)));
      if (body.state === 'closed' && !body.text) throw new Refused(400, '`text` is empty: an incident is closed for a reason');
      if (body.state) one.state = body.state;
      one.notes.push({ time: data.at(0), by: state.session.name, state: body.state ?? null, text: body.text ?? '' });
      return one;
    },
    'GET /events': ({ query }) => page(search(query), query, 'events'),
    'GET /events/:': ({ names: [id] }) => found(data.events.find((one) => one.id === id)),
    'GET /searches': () => ({ searches: state.searches }),
    'PUT /searches/:': ({ names: [name], body }) => upsert(state.searches, { name, query: body.query }),
    'DELETE /searches/:': ({ names: [name] }) => drop(state.searches, name),
    'GET /sources': ({ query }) => page(data.sources.filter((one) => !query.get('cidr') || one.startsWith(query.get('cidr'))).map(sourceOf), query, 'sources'),
    'GET /sources/:': ({ names: [address] }) => {
      const own = data.events.filter((event) => event.event.src_host === address);
      const counts = new Map();
      for (const event of own) counts.set(event.time.slice(0, 13), (counts.get(event.time.slice(0, 13)) ?? 0) + 1);
      const tried = own.filter((event) => event.event.logdata.USERNAME !== undefined).map((event) => ({ username: event.event.logdata.USERNAME, password: event.event.logdata.PASSWORD, service: event.event.aviary.service, count: 1, first: event.time, last: event.time }));
      return { ...sourceOf(address), incidents: data.incidents.filter((one) => one.source === address), timeline: [...counts].reverse().map(([at, events]) => ({ hour: `${at}:00:00Z`, events })), credentials: tried, fingerprints: [{ kind: 'hassh', value: '92674389fa1e47a27ddd8d9b63ecd42b' }] };
    },
    'GET /credentials': ({ query }) => page(credentials().filter((one) => !query.get('service') || one.services.includes(query.get('service'))), query, 'credentials'),
    'GET /sensors': ({ query }) => page(data.sensors, query, 'sensors'),
    'POST /sensors/tokens': () => ({ token: 'ave_once', command: 'aviary sensor enrol https://hub.example.test:8443 ave_once', expires: data.at(-hour) }),
    'GET /sensors/:': ({ names: [name] }) => ({ ...found(data.sensors.find((one) => one.name === name)), history: [{ time: data.at(hour), before: 'alive', state: 'late', why: 'the knock arrived after 14 s' }, { time: data.at(2 * hour), before: 'never', state: 'alive', why: 'the knock arrived' }], clock_skew_seconds: 2.4, backlog: 0 }),
    'PATCH /sensors/:': ({ names: [name], body }) => Object.assign(found(data.sensors.find((one) => one.name === name)), body),
    'POST /sensors/:/revoke': ({ names: [name] }) => void (found(data.sensors.find((one) => one.name === name)).revoked = true),
    'POST /sensors/:/drill': () => ({ started: true }),
    'GET /configs': () => ({ configs: Object.values(state.configs).map((one) => ({ name: one.group, group: one.group, version: one.versions.length, applied: one.applied, trial: null, first: null, sensors: 2, applied_sensors: 2 })), next: null }),
    'GET /configs/:': ({ names: [group] }) => found(state.configs[group]),
    'PUT /configs/:': ({ names: [group], body }) => {
      const one = (state.configs[group] ??= { group, versions: [], applied: null, current: '', newest: '' });
      one.newest = body.text;
      one.versions.push({ version: one.versions.length + 1, by: state.session.name, at: data.at(0), state: 'draft', why: '' });
      return one;
    },
    'GET /configs/:/diff': () => ({ diff: '--- version 1\n+++ version 2\n {\n-  "ssh.enabled": true\n+  "ssh.enabled": true,\n+  "redis.enabled": true\n }\n' }),
    'POST /configs/:/push': () => ({ first: 'ams-dmz-1' }),
    'GET /channels': () => ({ channels: state.channels, next: null }),
    'GET /channels/classes': () => ({ classes: [{ class: 'aviary.webhook', about: '', keys: [{ name: 'url', required: true, secret: true, about: 'Address that the message is posted to.' }, { name: 'timeout_seconds', required: false, secret: false, about: 'Longest wait.' }] }, { class: 'aviary.mail', about: '', keys: [{ name: 'to', required: true, secret: false, about: 'Recipient.' }, { name: 'password', required: false, secret: true, about: 'Password of the mail server.' }] }] }),
    'POST /channels': ({ body }) => upsert(state.channels, body, { state: 'never used', last_error: null }),
    'PUT /channels/:': ({ body }) => upsert(state.channels, body),
    'DELETE /channels/:': ({ names: [name] }) => drop(state.channels, name),
    'POST /channels/:/test': ({ names: [name] }) => (name === 'mail' ? { delivered: false, answer: 'connection refused' } : { delivered: true, answer: '200 OK' }),
    'GET /policies': () => ({ policies: state.policies, next: null }),
    'POST /policies': ({ body }) => upsert(state.policies, body),
    'PUT /policies/:': ({ body }) => upsert(state.policies, body),
    'DELETE /policies/:': ({ names: [name] }) => drop(state.policies, name),
    'GET /deliveries': ({ query }) => page(Array.from({ length: 150 }, (_, n) => ({ time: data.at(n * hour), policy: 'wake somebody', channel: n % 4 ? 'on call' : 'mail', incident: 1 + (n % 60), severity: 'critical', state: ['delivered', 'failed', 'digested', 'over budget', 'waiting'][n % 5], attempts: 1 + (n % 3), answer: hostile ? '<b onclick=alert(1)>500' : '200 OK', about: ['new sensor ams-dmz-2'] })), query, 'deliveries'),
    'GET /suppressions': () => ({ suppressions: state.suppressions, next: null }),
    'POST /suppressions/preview': ({ body }) => {
      const hits = data.events.filter((event) => (body.match.sources ?? []).includes(event.event.src_host));
      return { events: hits.length, looked_at: data.events.length, complete: true, incidents: data.incidents.filter((one) => (body.match.sources ?? []).includes(one.source)).map((one) => one.number), sample: hits.slice(0, 5) };
    },
    'POST /suppressions': ({ body }) => {
      if (!body.expires) throw new Refused(400, '`expires` is missing');
      return upsert(state.suppressions, { ...body, owner: body.owner || state.session.name }, { hits: 0, last_hit: null, over: false });
    },
    'PUT /suppressions/:': ({ body }) => upsert(state.suppressions, body),
    'DELETE /suppressions/:': ({ names: [name] }) => drop(state.suppressions, name),
    'GET /people': () => ({ people: state.people }),
    'POST /people': ({ body }) => {
      upsert(state.people, body, { totp: false, joined: false, last_sign_in: null, locked: false });
      return { name: body.name, link: '#/setup/welcome' };
    },
    'PATCH /people/:': ({ names: [name], body }) => upsert(state.people, { name, ...body }),
    'DELETE /people/:': ({ names: [name] }) => drop(state.people, name),
    'POST /people/:/reset': () => ({ link: '#/setup/welcome' }),
    'GET /tokens': () => ({ tokens: state.tokens }),
    'POST /tokens': ({ body }) => {
      const listed = { key: `t${state.tokens.length + 1}`, sensor: null, nodes: [], ...body, created: data.at(0), last_used: null };
      state.tokens.push(listed);
      return { token: 'avt_shown-once', ...listed };
    },
    'DELETE /tokens/:': ({ names: [key] }) => drop(state.tokens, key, 'key'),
    'GET /audit': ({ query }) => page(state.audit.filter((one) => !query.get('who') || one.by === query.get('who')), query, 'entries'),
  };
  const NEED = [[/^\/(people|tokens|audit)/, 'administer'], [/^\/(channels|policies|sensors|configs)/, 'administer', true], [/^\/(incidents|suppressions)/, 'act', true]];
  const OPEN = ['/setup', '/session'];

  function route(method, path) {
    const steps = path.split('/');
    for (const [key, run] of Object.entries(ROUTES)) {
      const [wanted, pattern] = key.split(' ');
      const parts = pattern.split('/');
      if (wanted !== method || parts.length !== steps.length) continue;
      if (parts.every((part, n) => part === ':' || part === steps[n])) return { run, names: steps.filter((_, n) => parts[n] === ':').map(decodeURIComponent) };
    }
    return null;
  }

  const streams = new Set();
  async function api(request, response, url) {
    const path = url.pathname.slice('/api/v1'.length);
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : {};
    if (!state.session && !OPEN.includes(path)) throw new Refused(401, 'sign in first');
    if (path === '/session' && request.method === 'GET' && !state.session) throw new Refused(401, 'sign in first');
    if (request.method !== 'GET' && request.headers['x-aviary'] !== 'console') throw new Refused(403, 'the header X-Aviary is missing');
    for (const [pattern, scope, changes] of NEED) {
      if (pattern.test(path) && (!changes || request.method !== 'GET') && !state.session?.scopes.includes(scope)) throw new Refused(403, `this needs the scope ${scope}`);
    }
    if (path === '/live') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      let n = 0;
      const tell = () => {
        const { id, sensor, event } = data.events[n % data.events.length];
        response.write(`event: event\ndata: ${JSON.stringify({ id, sensor, event, hidden: null, time: data.at(-n * 1000) })}\n\n`);
        if (n % 5 === 0) {
          const one = data.incidents[n % data.incidents.length];
          response.write(`event: incident\ndata: ${JSON.stringify({ number: one.number, born: n % 2 === 0, absorbed: [], source: one.source, severity: one.severity, stage: one.stage, state: one.state, events: one.events })}\n\n`);
        }
        n += 1;
      };
      for (let first = 0; first < 30; first += 1) tell();
      const every = setInterval(tell, 250);
      streams.add(response);
      response.on('close', () => {
        clearInterval(every);
        streams.delete(response);
      });
      return;
    }
    if (path === '/events/export') {
      response.writeHead(200, { 'Content-Type': 'application/x-ndjson', 'Content-Disposition': 'attachment; filename=events.ndjson' });
      response.end(search(url.searchParams).map((event) => JSON.stringify(event)).join('\n'));
      return;
    }
    const matched = route(request.method, path);
    if (!matched) throw new Refused(404, 'there is nothing at this address');
    const answer = matched.run({ names: matched.names, query: url.searchParams, body });
    if (answer === undefined) response.writeHead(204).end();
    else response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }).end(JSON.stringify(answer));
  }

  function file(response, url) {
    const name = url.pathname === '/console/' ? 'index.html' : normalize(url.pathname.slice('/console/'.length));
    const path = join(DIST, name);
    if (name.startsWith('..') || !existsSync(path)) return void response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': TYPES[extname(name)] ?? 'application/octet-stream', 'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff' });
    response.end(readFileSync(path));
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://hub');
    state.requests.push(`${request.method} ${url.pathname}`);
    const refuse = (error) => {
      const status = error.status ?? 500;
      if (status === 500) console.error(error);
      response.writeHead(status, { 'Content-Type': 'application/problem+json' }).end(JSON.stringify({ status, title: status === 401 ? 'Unauthorized' : 'Refused', detail: error.message, ...error.more }));
    };
    if (url.pathname.startsWith('/api/v1/')) api(request, response, url).catch(refuse);
    else if (url.pathname.startsWith('/console/')) file(response, url);
    else response.writeHead(303, { Location: '/console/' }).end();
  });
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () => {
      const stop = () => {
        for (const stream of streams) stream.destroy();
        server.closeAllConnections();
        return new Promise((done) => server.close(done));
      };
      resolve({ address: `http://127.0.0.1:${server.address().port}`, state, data, stop });
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf('--port');
  const { address } = await start({ hostile: process.argv.includes('--hostile'), fresh: process.argv.includes('--fresh'), port: at > 0 ? Number(process.argv[at + 1]) : 8390 });
  console.log(`${address}/console/   mei (code 123456), ada, olu; password: ${PASSWORD}`);
}
