//! `/api/v1/intake`: what came in since the hub's start, and from whom.

use std::sync::Arc;

use aviary_hub::{Hub, Intake, Scope, Stranger};
use axum::extract::State;
use axum::response::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Problem;
use crate::access::Caller;
use crate::wire::time;

/// What came in since the hub's start.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntakeCounts {
    /// By sensor.
    sensors: Vec<IntakeOfSensor>,
    /// Addresses from which somebody without a credential sent lines or syslog; the latest first.
    strangers: Vec<IntakeStranger>,
}

/// What came of a sensor.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntakeOfSensor {
    /// Its name.
    name: String,
    /// Events that were stored.
    accepted: u64,
    /// Events that were there already.
    duplicate: u64,
    /// Lines that were not taken.
    refused: u64,
    /// When something came last.
    last: Option<String>,
    /// Why the last line that was not taken was not.
    refusal: Option<RefusedLine>,
    /// By how many seconds the sensor's clock is ahead of the hub's, if it is off by more than five minutes; less than
    /// nothing when it is behind.
    clock_skew_seconds: Option<i64>,
}

/// A line that was not taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusedLine {
    /// When.
    time: String,
    /// Why.
    reason: String,
}

/// Somebody without a credential.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntakeStranger {
    /// From where.
    address: String,
    /// How often.
    count: u64,
    /// When last.
    last: String,
    /// What it spoke.
    #[schema(example = "syslog over UDP")]
    way: &'static str,
}

impl From<(String, Intake)> for IntakeOfSensor {
    fn from((name, intake): (String, Intake)) -> Self {
        Self {
            name,
            accepted: intake.accepted,
            duplicate: intake.duplicate,
            refused: intake.refused,
            last: intake.last.map(time),
            clock_skew_seconds: intake.skew(),
            refusal: intake.refusal.map(|(at, reason)| RefusedLine { time: time(at), reason }),
        }
    }
}

impl From<Stranger> for IntakeStranger {
    fn from(stranger: Stranger) -> Self {
        Self {
            address: stranger.address.to_string(),
            count: stranger.count,
            last: time(stranger.last),
            way: stranger.way,
        }
    }
}

/// Counts what came in, with clocks that are wrong and what was not taken
#[utoipa::path(
    get, path = "/api/v1/intake", tag = "intake", security(("token" = ["read"])),
    responses((status = 200, body = IntakeCounts), (status = 401, body = Problem), (status = 403, body = Problem)),
)]
pub(crate) async fn show(State(hub): State<Arc<Hub>>, caller: Caller) -> Result<Json<IntakeCounts>, Problem> {
    caller.may(Scope::Read)?;
    let sensors = hub.tally().sensors().into_iter().map(IntakeOfSensor::from).collect();
    let strangers = hub.tally().strangers().into_iter().map(IntakeStranger::from).collect();
    Ok(Json(IntakeCounts { sensors, strangers }))
}
