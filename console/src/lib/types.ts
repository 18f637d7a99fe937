// What the hub's routes say and take, as its OpenAPI document describes it.

export const SEVERITIES = ['critical', 'high', 'medium', 'low', 'informational'] as const;
export type Severity = (typeof SEVERITIES)[number];
export const STAGES = ['touch', 'scan', 'probe', 'login_attempt', 'decoy_used', 'exploit_attempt'] as const;
export type Stage = (typeof STAGES)[number];
export const KINDS = ['login', 'connection', 'command', 'violation', 'scan', 'limit', 'lifecycle'] as const;
export type Kind = (typeof KINDS)[number];
export const STATES = ['open', 'acknowledged', 'closed'] as const;
export type State = (typeof STATES)[number];
export const ROLES = ['viewer', 'analyst', 'admin'] as const;
export type Role = (typeof ROLES)[number];
export const SCOPES = ['ingest', 'read', 'act', 'administer'] as const;
export type Scope = (typeof SCOPES)[number];
export const FACTS = [
  'sensor', 'target', 'service', 'port', 'stage', 'technique', 'kind', 'user', 'decoy', 'tool', 'fingerprint', 'mac', 'name',
] as const;
export type FactSort = (typeof FACTS)[number];

export interface Session { name: string; role: Role; scopes: Scope[]; totp: boolean; expires: string }

export interface Line {
  dst_host?: string; dst_port?: number | string; src_host?: string; src_port?: number | string;
  logtype?: number; node_id?: string; logdata?: unknown;
  aviary?: { kind?: string; service?: string; session?: string; technique?: string[]; fingerprint?: Record<string, unknown> };
}
export interface Event {
  id: string; time: string; received: string; sensor: string; stage: Stage | null; hidden: string | null; event: Line | string;
}
export interface Page { next: string | null }
export interface Events extends Page { events: Event[] }

export interface Fact { fact: FactSort; value: string | number; time: string; event: string }
export type Reason =
  | { reason: 'stage'; stage: Stage; at: number; event: string }
  | { reason: 'decoy'; user: string; at: number; event: string }
  | { reason: 'breadth'; sensors: number };
export interface Note { time: string; by: string; state: State | null; text: string }
export interface Incident {
  number: number; source: string; realm: string; first: string; last: string; events: number;
  severity: Severity; stage: Stage; state: State; reasons: Reason[]; facts: Fact[]; notes: Note[];
}
export interface Incidents extends Page { incidents: Incident[] }

export interface Overview {
  incidents: { open: Partial<Record<Severity, number>>; new_24h: number };
  latest: Incident[];
  sensors: { total: number; alive: number; blind: number; late: number; silent: number };
  trend: { hour: string; kinds: Partial<Record<Kind, number>> }[];
  top_sources: { source: string; events: number }[];
  top_services: { service: string; events: number }[];
}

export interface Source {
  source: string; first: string; last: string; events: number; incidents: number; severity: Severity | null;
  services: string[]; sensors: string[]; credentials: number;
}
export interface Sources extends Page { sources: Source[] }
export interface SourceStory extends Omit<Source, 'incidents' | 'credentials'> {
  incidents: Incident[];
  timeline: { hour: string; events: number }[];
  credentials: { username: string; password: string; service: string; count: number; first: string; last: string }[];
  fingerprints: { kind: string; value: string }[];
}
export interface Credential {
  username: string; password: string; count: number; sources: number; services: string[];
  first: string; last: string; sha256: string;
}
export interface Credentials extends Page { credentials: Credential[] }
export interface SavedSearch { name: string; query: Record<string, string> }

export const SENSOR_STATES = ['alive', 'blind', 'late', 'silent', 'never'] as const;
export type SensorState = (typeof SENSOR_STATES)[number];
export interface Sensor {
  name: string; group: string; tags: string[]; site: string; state: SensorState; why?: string; last_seen: string | null;
  version: string | null; addresses: string[]; services: SensorService[]; config_hash: string | null; config?: string | null;
  config_wanted?: string | null; enrolled: string; certificate_until?: string | null; revoked: boolean;
}
export interface SensorService { service: string; address: string; port: number; protocol: string; state: string }
export interface Sensors extends Page { sensors: Sensor[] }
export interface SensorStory extends Sensor {
  history: { time: string; before?: SensorState; state: SensorState; why: string }[]; clock_skew_seconds: number | null; backlog: number | null;
}
export interface ConfigVersion { version: number; by: string; at: string; state: 'draft' | 'trial' | 'applied' | 'rolled back' | 'failed'; why: string }
export interface Config { group: string; versions: ConfigVersion[]; applied: number | null; current: string; newest: string }
export interface ListedConfig {
  name: string; group: string; version: number; applied: number | null; trial: number | null; first: string | null;
  sensors: number; applied_sensors: number;
}

export interface Hours { from: string; to: string; days: string[]; zone: string }
export interface Match {
  sources?: string[]; destinations?: string[]; sensors?: string[]; services?: string[]; ports?: number[]; kinds?: string[];
  hours?: Hours | null;
}
export interface Suppression {
  name: string; reason: string; owner: string; expires: string | null; over?: boolean; match: Match; hits: number; last_hit: string | null; version: number;
}
export interface Preview { events: number; incidents: number[]; sample: Event[]; looked_at?: number; complete?: boolean }

export interface Channel {
  name: string; class: string; options: Record<string, unknown>; version: number;
  state: 'ok' | 'failing' | 'never used'; last_error: string | null;
}
export interface ChannelClass { class: string; keys: { name: string; required: boolean; secret: boolean; about: string }[] }
export interface Schedule { days: string[]; from: string; to: string; zone: string }
export interface Policy {
  name: string; severity: Severity; kinds: string[]; groups: string[]; schedule: Schedule | null; channels: string[];
  budget: { messages: number; per: string } | null; digest: string | null; enabled: boolean; version?: number;
}
export interface Delivery {
  time: string; policy: string; channel: string; incident: number;
  state: 'delivered' | 'waiting' | 'failed' | 'digested' | 'over budget'; attempts: number; answer: string; about: string[];
}
export interface Deliveries extends Page { deliveries: Delivery[] }

export interface Person { name: string; role: Role; totp: boolean; last_sign_in: string | null; locked: boolean; version: number }
export interface Token {
  key: string; name: string; scopes: Scope[]; sensor: string | null; nodes: string[]; created: string; last_used: string | null;
}
export interface AuditEntry {
  time: string; by: string; kind: string; key: string; change: 'created' | 'changed' | 'removed';
  before: Record<string, unknown> | null; after: Record<string, unknown> | null;
}
export interface Audit extends Page { entries: AuditEntry[] }

/** What the live stream tells of an event and of an incident. */
export interface LiveEvent { id: string; time: string; sensor: string; hidden: string | null; event: Line | string }
export interface LiveIncident {
  number: number; born: boolean; absorbed: number[]; source: string; severity: Severity; stage: Stage; state: State; events: number;
}
