-- Events in order of time with an index of words and tags, and sums. What is in `events_before` is stored anew; see
-- `refill.rs`.
DROP INDEX events_id;
DROP INDEX events_at;
DROP INDEX events_src;
DROP INDEX events_sensor;
DROP INDEX events_hidden;
DROP TABLE words;
ALTER TABLE events RENAME TO events_before;
CREATE TABLE events (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    received INTEGER NOT NULL,
    sensor TEXT NOT NULL,
    realm TEXT NOT NULL,
    src BLOB,
    dst BLOB,
    port INTEGER,
    logtype INTEGER,
    service TEXT,
    kind TEXT NOT NULL,
    stage INTEGER,
    hidden TEXT,
    line TEXT NOT NULL
);
CREATE UNIQUE INDEX events_id ON events (id);
CREATE VIRTUAL TABLE words USING fts5 (body, content = '', contentless_delete = 1, detail = none);
CREATE TABLE hours (
    hour INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    service TEXT NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (hour, stage, service)
) WITHOUT ROWID;
CREATE TABLE heard (
    sensor TEXT PRIMARY KEY,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    events INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE sources (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    realm TEXT NOT NULL,
    name TEXT NOT NULL,
    addr BLOB,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    events INTEGER NOT NULL,
    credentials INTEGER NOT NULL DEFAULT 0,
    UNIQUE (name, realm)
);
CREATE INDEX sources_last ON sources (last_at);
CREATE INDEX sources_addr ON sources (addr) WHERE addr IS NOT NULL;
CREATE TABLE source_parts (
    source INTEGER NOT NULL,
    part INTEGER NOT NULL,
    value NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (source, part, value)
) WITHOUT ROWID;
CREATE TABLE credentials (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    username BLOB NOT NULL,
    password BLOB NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    events INTEGER NOT NULL,
    sources INTEGER NOT NULL DEFAULT 0,
    UNIQUE (username, password)
);
CREATE INDEX credentials_last ON credentials (last_at);
CREATE INDEX credentials_events ON credentials (events);
CREATE TABLE credential_services (
    credential INTEGER NOT NULL,
    service TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (credential, service)
) WITHOUT ROWID;
CREATE INDEX credential_services_last ON credential_services (service, last_at);
CREATE INDEX credential_services_events ON credential_services (service, events);
CREATE TABLE tried (
    source INTEGER NOT NULL,
    credential INTEGER NOT NULL,
    service TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (source, credential, service)
) WITHOUT ROWID;
CREATE INDEX incidents_state ON incidents (state, severity, last_at) WHERE went_into IS NULL;
CREATE INDEX incidents_first ON incidents (first_at) WHERE went_into IS NULL;
DROP INDEX incidents_actor;
CREATE INDEX incidents_actor ON incidents (actor, last_at, severity) WHERE went_into IS NULL;
