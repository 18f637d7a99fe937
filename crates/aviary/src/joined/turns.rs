//! The conversation with the hub: the canary tells how it is doing, and does what there is to do.

use std::sync::Arc;
use std::time::Duration;

use aviary_hub::sensors::{ConfigOrder, Drilled, Orders, Refused};
use aviary_sensor::{Canary, Reload};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::Joined;
use super::enrol::chain;
use super::identity::{Identity, ask_for};
use super::{drill, report};
use crate::process::Find;

/// The shortest and the longest pause after a hub that cannot be reached.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The least time from one question to the next.
const BREATH: Duration = Duration::from_millis(100);
/// The pause between tries to renew the certificate, microseconds.
const RENEWING: i64 = 3_600_000_000;

/// Why a turn came to nothing.
enum Trouble {
    /// The hub lets this sensor in no more.
    Refused(String),
    /// The hub cannot be reached, or cannot answer.
    Away(String),
}

/// Talks with the hub until dropped. `config` finds the file that the canary runs on.
pub(crate) async fn run(mut joined: Joined, canary: Arc<Canary>, config: Find, reload: Reload) {
    let mut member = Member { refused: None, drilled: None, client: None, pause: PAUSES.0, is_told: false };
    loop {
        let status = canary.status("").await;
        let mut told = report::report(&status, Some(&config()));
        told.config = joined.pushed.id();
        told.refused.clone_from(&member.refused);
        told.drill.clone_from(&member.drilled);
        let said = serde_json::to_value(&told).map(|mut said| {
            // What the hub keeps no copy of is told all the same.
            said["backlog"] = told.backlog.into();
            said["time"] = told.time.into();
            said["drill"] = serde_json::to_value(&told.drill).unwrap_or(Value::Null);
            said
        });
        let answer = member.turn(&joined.identity, &said.unwrap_or_default()).await;
        let orders = match answer {
            Ok(orders) => orders,
            Err(trouble) => {
                member.pause(trouble).await;
                continue;
            }
        };
        member.back();
        (member.drilled, member.refused) = (None, None);
        if let Some(order) = orders.config {
            member.refused = take(&joined, order, Arc::clone(&reload)).await;
        }
        if let Some(word) = orders.drill {
            let status = canary.status("").await;
            member.drilled = Some(drill::touch_all(&canary, &status, &word).await);
        }
        if orders.renew || aviary_sensor::now_micros() > joined.identity.renew_at {
            member.renew(&mut joined.identity).await;
        }
        tokio::time::sleep(BREATH).await;
    }
}

/// Takes a config, or says why not.
async fn take(joined: &Joined, order: ConfigOrder, reload: Reload) -> Option<Refused> {
    let (pushed, id) = (joined.pushed.clone(), order.id.clone());
    let taken = tokio::task::spawn_blocking(move || pushed.take(&order, &reload)).await;
    let why = match taken {
        Ok(Ok(changes)) => {
            tracing::info!(config = id, ?changes, "config of the hub taken");
            return None;
        }
        Ok(Err(why)) => why,
        Err(error) => error.to_string(),
    };
    tracing::error!(config = id, why, "config of the hub not taken, nothing changed");
    Some(Refused { config: id, why })
}

/// What is known from one turn to the next.
struct Member {
    refused: Option<Refused>,
    drilled: Option<Drilled>,
    client: Option<Client>,
    pause: Duration,
    is_told: bool,
}

impl Member {
    async fn turn(&mut self, identity: &Identity, report: &Value) -> Result<Orders, Trouble> {
        let answer = self.ask(identity, "turn", report).await?;
        serde_json::from_value(answer)
            .map_err(|error| Trouble::Away(format!("the hub's answer makes no sense: {error}")))
    }

    async fn ask(&mut self, identity: &Identity, what: &str, body: &Value) -> Result<Value, Trouble> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => {
                let identity = identity.clone();
                let made = tokio::task::spawn_blocking(move || identity.client()).await;
                let made = made.map_err(|error| Trouble::Away(error.to_string()))?;
                self.client.insert(made.map_err(|error| Trouble::Away(format!("{error:#}")))?).clone()
            }
        };
        let request = client.post(format!("{}/api/v1/sensor/{what}", identity.url)).json(body);
        let answer = request.send().await.map_err(|error| Trouble::Away(chain(&error)))?;
        let status = answer.status();
        let said: Value = answer.json().await.unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(said);
        }
        let reason = said["detail"].as_str().map_or_else(|| format!("it answers {status}"), str::to_owned);
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Trouble::Refused(reason),
            _ => Trouble::Away(reason),
        })
    }

    /// Waits, longer each time. It is said once: the hub says loudly who is silent.
    async fn pause(&mut self, trouble: Trouble) {
        // Another connection may find another hub, or show a renewed certificate.
        self.client = None;
        let (pause, reason) = match &trouble {
            Trouble::Refused(reason) => (PAUSES.1, reason),
            Trouble::Away(reason) => (self.pause, reason),
        };
        if !self.is_told {
            match trouble {
                Trouble::Refused(_) => tracing::error!("the hub lets this sensor in no more: {reason}"),
                Trouble::Away(_) => tracing::warn!("the hub cannot be reached; events wait in the journal: {reason}"),
            }
            self.is_told = true;
        }
        tokio::time::sleep(pause).await;
        self.pause = self.pause.saturating_mul(2).min(PAUSES.1);
    }

    fn back(&mut self) {
        if std::mem::take(&mut self.is_told) {
            tracing::info!("the hub answers again");
        }
        self.pause = PAUSES.0;
    }

    /// Renews the certificate. One that cannot be renewed now is good for a while, and tried again later.
    async fn renew(&mut self, identity: &mut Identity) {
        let renewed = async {
            let (key, request) = ask_for(&identity.name).map_err(|error| format!("{error:#}"))?;
            let answer = self.ask(identity, "renew", &json!({ "request": request })).await;
            let answer = answer.map_err(|(Trouble::Refused(reason) | Trouble::Away(reason))| reason)?;
            let folder = identity.certificate();
            let folder = folder.parent().unwrap_or(&folder);
            Identity::write(folder, &identity.url, identity.is_pinned, &answer, &key)
                .map_err(|error| format!("{error:#}"))
        };
        match renewed.await {
            Ok(fresh) => {
                tracing::info!("certificate renewed");
                *identity = fresh;
                self.client = None;
            }
            Err(reason) => {
                tracing::warn!("the certificate cannot be renewed now: {reason}");
                identity.renew_at = aviary_sensor::now_micros().saturating_add(RENEWING);
            }
        }
    }
}
