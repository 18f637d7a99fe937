// Data of a hub that does not exist: the same at every start. With `hostile`, every captured text attacks the page.

/** What attackers put into fields: markup, formulas, escapes, marks that turn the order of text, a megabyte. */
export const HOSTILE = [
  '<img src=x onerror=window.__hit=1>', '"><script>window.__hit=2</script>', '=cmd|\'/c calc\'!A1', '\u001b]0;owned\u0007\u001b[31mred',
  'abc\u202etxt.exe\u2066\u200b', '{{constructor.constructor("window.__hit=3")()}}', 'javascript:window.__hit=4', '\ud800 lone', '%00%0d%0aSet-Cookie: a=b',
  '</title><svg onload=window.__hit=5>', '{value} ${window.__hit=6} {name}', '\u0000\u0001\r\n\t', 'A'.repeat(1 << 20),
];

export function makeData({ hostile = false, count = 4000, now = Date.parse('2026-11-25T12:00:00Z') } = {}) {
  let seed = 42;
  const draw = (below) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 4294967296) * below);
  };
  const pick = (list) => list[draw(list.length)];
  const at = (before) => new Date(now - before).toISOString();
  const text = (good, index) => (hostile ? HOSTILE[index % HOSTILE.length] : good);

  const SENSORS = ['ams-dmz-1', 'ams-dmz-2', 'fra-core-1', 'fra-core-2', 'sha-office-1', 'sha-office-2', 'nyc-edge-1', 'nyc-edge-2', 'lab-pi'];
  const sources = Array.from({ length: 60 }, (_, n) => (n < 22 ? `10.${n % 4}.${draw(255)}.${1 + draw(254)}` : n % 9 === 0 ? `2001:db8::${(n * 7).toString(16)}` : `203.0.113.${n}`));
  const SERVICES = [['ssh', 22, 4002, 'login', 'login_attempt'], ['http', 80, 3001, 'login', 'login_attempt'], ['smb', 445, 5000, 'connection', 'touch'], ['mysql', 3306, 8001, 'login', 'login_attempt'], ['rdp', 3389, 14001, 'login', 'login_attempt'], ['redis', 6379, 17001, 'command', 'exploit_attempt'], ['portscan', 0, 5001, 'scan', 'scan'], ['telnet', 23, 6001, 'login', 'probe']];
  const USERS = ['root', 'admin', 'oracle', 'pi', 'sa', 'backup', 'deploy', 'test', 'postgres', 'administrator'];
  const PASSWORDS = ['123456', 'admin', 'P@ssw0rd', 'toor', 'qwerty', 'letmein', 'Summer2026!', '', 'root', 'changeme'];
  const uuid = (n) => `019${n.toString(16).padStart(5, '0')}-0000-7000-8000-${n.toString(16).padStart(12, '0')}`;

  const events = Array.from({ length: count }, (_, n) => {
    const [service, port, logtype, kind, stage] = pick(SERVICES);
    const source = sources[Math.min(draw(60), draw(60))];
    const sensor = pick(SENSORS);
    const logdata = kind === 'login' ? { USERNAME: text(pick(USERS), n), PASSWORD: text(pick(PASSWORDS), n + 5) } : kind === 'command' ? { CMD: text('CONFIG SET dir /var/spool/cron', n), ARGS: '' } : kind === 'scan' ? { ports: [22, 80, 443, 445], rate: 120 } : { msg: text('SMB negotiate', n) };
    if (hostile) logdata[HOSTILE[n % 12].slice(0, 60)] = { nested: HOSTILE[(n + 3) % 12] };
    const before = n * 43_000;
    return {
      id: uuid(n), time: at(before), received: at(before - 200 - (n % 97 === 0 ? 5_400_000 : 0)), sensor, stage, hidden: n % 41 === 3 ? 'vulnerability scanner' : null,
      event: { dst_host: `10.9.0.${1 + SENSORS.indexOf(sensor)}`, dst_port: port, src_host: source, src_port: 40000 + draw(20000), logtype, node_id: hostile ? HOSTILE[n % 12] : sensor, logdata, aviary: { kind: `${service}.${kind}`, service: hostile && n % 5 === 0 ? HOSTILE[n % 12] : service, technique: ['T1110.001'] } },
    };
  });

  const LADDER = { touch: 'low', scan: 'low', probe: 'medium', login_attempt: 'high', decoy_used: 'critical', exploit_attempt: 'critical' };
  const incidents = sources.map((source, n) => {
    const own = events.filter((event) => event.event.src_host === source);
    const first = own.at(-1) ?? events[0];
    const last = own[0] ?? events[0];
    const stage = n === 1 ? 'decoy_used' : (['exploit_attempt', 'login_attempt', 'probe', 'scan', 'touch', 'login_attempt'])[n % 6];
    const reached = [...new Set(own.map((event) => event.sensor))];
    const fact = (sort, value, event) => ({ fact: sort, value, time: event.time, event: event.id });
    const facts = [
      ...reached.map((sensor) => fact('sensor', sensor, own.findLast((event) => event.sensor === sensor) ?? first)),
      ...[...new Set(own.map((event) => event.event.aviary.service))].map((service) => fact('service', service, own.findLast((event) => event.event.aviary.service === service) ?? first)),
      ...[...new Set(own.map((event) => event.event.dst_port))].map((port) => fact('port', port, own.findLast((event) => event.event.dst_port === port) ?? first)),
      ...own.filter((event) => event.event.logdata.USERNAME !== undefined).slice(0, 9).map((event) => fact('user', event.event.logdata.USERNAME, event)),
      fact('technique', 'T1110.001', first), fact('tool', text('libssh 0.9', n), first), fact('stage', stage, last), ...(n === 1 ? [fact('decoy', text('svc-backup', n), last)] : []),
    ];
    return {
      number: 60 - n, source, realm: n % 7 === 0 ? 'ams' : '', first: first.time, last: last.time, events: n === 2 ? 100_000 : own.length, severity: LADDER[stage], stage,
      state: n % 9 === 4 ? 'closed' : n % 5 === 3 ? 'acknowledged' : 'open',
      reasons: [{ reason: 'stage', stage, at: Date.parse(last.time) * 1000, event: last.id }, ...(n === 1 ? [{ reason: 'decoy', user: text('svc-backup', n), at: 0, event: last.id }] : []), ...(reached.length > 1 ? [{ reason: 'breadth', sensors: reached.length }] : [])],
      facts, notes: n % 9 === 4 ? [{ time: last.time, by: text('mei', n), state: 'closed', text: text('The team of the backup server was testing.', n) }] : [],
    };
  }).sort((a, b) => b.last.localeCompare(a.last));

  const SITES = { ams: 'Amsterdam', fra: 'Frankfurt', sha: '上海', nyc: 'New York', lab: '' };
  const STATES = ['alive', 'alive', 'alive', 'blind', 'alive', 'late', 'alive', 'silent', 'never'];
  const sensors = SENSORS.map((name, n) => ({
    name, group: name.split('-')[1] ?? 'lab', tags: ['prod'], site: SITES[name.split('-')[0]] ?? '', state: STATES[n], why: STATES[n] === 'blind' ? 'the knock on ssh did not arrive as an event within 10 s' : '',
    last_seen: STATES[n] === 'never' ? null : at(n * 12_000), version: STATES[n] === 'never' ? null : '0.1.0', node_id: name, addresses: [`10.9.0.${n + 1}`], config_hash: STATES[n] === 'never' ? null : 'b5bb9d8014a0f9b1d61e21e796d78dcc',
    services: STATES[n] === 'never' ? [] : SERVICES.slice(0, 5).map(([service, port]) => ({ service, address: `10.9.0.${n + 1}`, port, protocol: 'tcp', state: 'listening' })),
    config: '2', config_wanted: '2', enrolled: at(86_400_000 * 40), certificate_until: at(-86_400_000 * 50), revoked: false,
  }));
  return { now, events, incidents, sensors, sources, at };
}
