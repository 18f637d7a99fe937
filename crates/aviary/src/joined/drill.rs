//! The proof that the hub asks for: a touch of each service that listens, through a real socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aviary_hub::sensors::{Drilled, Touch};
use aviary_sensor::Canary;
use serde_json::Value;

use crate::command::knock;

/// Services that are touched at once.
const AT_ONCE: usize = 8;
/// Longest touch.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long events of a drill may come after its last touch.
const AFTER: Duration = Duration::from_secs(60);

/// Touches every service that `status` names, with the word that their events carry.
pub(super) async fn touch_all(canary: &Arc<Canary>, status: &Value, word: &str) -> Drilled {
    let expected: Arc<str> = Arc::from(word);
    let targets: Vec<Target> = status["services"].as_array().into_iter().flatten().filter_map(Target::of).collect();
    let mut touches = Vec::new();
    for some in targets.chunks(AT_ONCE) {
        let begun: Vec<_> = some
            .iter()
            .map(|target| {
                let (canary, expected, target) = (Arc::clone(canary), Arc::clone(&expected), target.clone());
                tokio::runtime::Handle::current().spawn(async move { touch(&canary, &expected, target).await })
            })
            .collect();
        for touch in begun {
            touches.extend(touch.await.ok());
        }
    }
    let (canary, word) = (Arc::clone(canary), word.to_owned());
    let over = word.clone();
    drop(tokio::runtime::Handle::current().spawn(async move {
        tokio::time::sleep(AFTER).await;
        canary.end_drill(&over);
    }));
    Drilled { word, touches }
}

async fn touch(canary: &Canary, word: &Arc<str>, target: Target) -> Touch {
    let Target { service, address, port, datagrams } = target;
    let mut source = 0;
    let announce = |from: SocketAddr| {
        source = from.port();
        canary.expect_drill(from, word);
    };
    // Not the word itself, which would stand in the logs of others.
    let mark = "drill";
    let knocked = async {
        if datagrams {
            knock::datagram(&address, port, mark, announce).await
        } else {
            knock::knock(&service, &address, port, mark, announce).await
        }
    };
    let error = match tokio::time::timeout(PATIENCE, knocked).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    Touch { service, address, port, source, error }
}

/// A place to touch.
#[derive(Clone, Debug)]
struct Target {
    service: String,
    address: String,
    port: u16,
    datagrams: bool,
}

impl Target {
    fn of(service: &Value) -> Option<Self> {
        if service["state"] != "listening" {
            return None;
        }
        let address = match service["address"].as_str()? {
            "*" | "0.0.0.0" | "::" => "127.0.0.1",
            address => address,
        };
        Some(Self {
            service: service["service"].as_str()?.to_owned(),
            address: address.to_owned(),
            port: u16::try_from(service["port"].as_u64()?).ok()?,
            datagrams: service["protocol"] == "udp",
        })
    }
}
