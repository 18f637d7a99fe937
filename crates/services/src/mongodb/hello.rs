//! `hello` and its older name: what a driver asks first, and every ten seconds.

use std::time::Duration;

use aviary_event::LogData;
use aviary_service::Outbox;

use super::bson::{Bson, Document};
use super::compress::Compressor;
use super::dialogue::Mongo;
use super::events;

/// Longest time for which an answer is held back, in milliseconds. Drivers ask for ten seconds.
const LONGEST_WAIT: i64 = 30_000;

impl Mongo {
    /// The answer. `legacy` is that of `isMaster`, which has another word for a primary.
    pub(super) fn hello(&mut self, command: &Document, legacy: bool, out: &mut Outbox) -> Document {
        self.introduce(command, out);
        let waited = self.wait(command, out);
        let server = std::sync::Arc::clone(&self.server);
        let persona = &server.persona;
        let mut answer = Document::default();
        if command.get("helloOk").is_some() && persona.has_hello() {
            answer = answer.with("helloOk", true);
        }
        answer = answer.with(if legacy { "ismaster" } else { "isWritablePrimary" }, true);
        if persona.has_topology_version() {
            let version = Document::default()
                .with("processId", Bson::ObjectId(server.process(out.now())))
                .with("counter", Bson::Long(0));
            answer = answer.with("topologyVersion", version);
        }
        let now = out.now().as_micros().div_euclid(1000).saturating_add(waited);
        answer = answer
            .with("maxBsonObjectSize", 16_777_216)
            .with("maxMessageSizeBytes", 48_000_000)
            .with("maxWriteBatchSize", 100_000)
            .with("localTime", Bson::Date(now))
            .with("logicalSessionTimeoutMinutes", 30);
        if persona.tells_connection() {
            answer = answer.with("connectionId", i32::try_from(self.facts.count).unwrap_or(i32::MAX));
        }
        answer = answer.with("minWireVersion", 0).with("maxWireVersion", persona.wire()).with("readOnly", false);
        if let Some(Bson::Array(asked)) = command.get("compression") {
            let offered = persona.compressors();
            let named = |value: &Bson| match value {
                Bson::Text(name) => offered.iter().copied().find(|one| one.name().as_bytes() == name),
                _ => None,
            };
            let mut agreed: Vec<Compressor> = Vec::new();
            for one in asked.0.iter().filter_map(|(_, value)| named(value)) {
                if !agreed.contains(&one) {
                    agreed.push(one);
                }
            }
            if !agreed.is_empty() {
                answer = answer.with("compression", agreed.into_iter().map(Compressor::name).collect::<Bson>());
            }
        }
        // The server lists what a user has a credential for; every user has both.
        if let Some(Bson::Text(user)) = command.get("saslSupportedMechs")
            && persona.has_sha256()
            && !user.starts_with(b"$external.")
        {
            answer = answer.with("saslSupportedMechs", ["SCRAM-SHA-256", "SCRAM-SHA-1"].into_iter().collect::<Bson>());
        }
        if let Some(begun) = command.document("speculativeAuthenticate").filter(|_| persona.has_speculation())
            && let Some(first) = self.speculate(begun, out)
        {
            answer = answer.with("speculativeAuthenticate", first);
        }
        answer.with("ok", 1.0)
    }

    /// An answer that waits for news is held back: there never are any. Gives the milliseconds.
    fn wait(&self, command: &Document, out: &mut Outbox) -> i64 {
        let known = command.document("topologyVersion").and_then(|version| version.get("processId"));
        let wanted = command.number("maxAwaitTimeMS").filter(|time| *time > 0);
        let ours = Bson::ObjectId(self.server.process(out.now()));
        match (known, wanted) {
            (Some(process), Some(time)) if self.server.persona.has_topology_version() && *process == ours => {
                let time = time.min(LONGEST_WAIT);
                out.pause(Duration::from_millis(u64::try_from(time).unwrap_or(0)));
                time
            }
            _ => 0,
        }
    }

    /// Reports what the driver says of itself, once.
    fn introduce(&mut self, command: &Document, out: &mut Outbox) {
        let Some(client) = command.document("client").filter(|_| !self.introduced) else { return };
        self.introduced = true;
        let mut data = LogData::new();
        let parts = [
            ("APPLICATION", "application", "name"),
            ("ARCHITECTURE", "os", "architecture"),
            ("DRIVER", "driver", "name"),
            ("DRIVER_VERSION", "driver", "version"),
            ("OS", "os", "name"),
            ("OS_VERSION", "os", "version"),
        ];
        for (key, part, name) in parts {
            if let Some(value) = client.document(part).and_then(|part| part.text(name)) {
                data.insert(key, value);
            }
        }
        if let Some(platform) = client.text("platform") {
            data.insert("PLATFORM", platform);
        }
        if let Some(Bson::Array(asked)) = command.get("compression") {
            let names = asked.0.iter().filter_map(|(_, value)| match value {
                Bson::Text(name) => Some(name.as_slice()),
                _ => None,
            });
            data.insert("COMPRESSION", names.collect::<Vec<_>>().join(b",".as_slice()));
        }
        out.report(events::CLIENT, data);
    }
}
