//! `/api/v1/audit`: who changed what.

use std::sync::Arc;

use aviary_hub::{Hub, Scope};
use aviary_store::{AuditQuery, AuditRow, Cursor};
use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::Problem;
use crate::access::Caller;
use crate::wire::{Asked, cursor, time};

const ROWS: usize = 100;
const MOST: usize = 1000;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// Parts of names whose values are secrets, wherever they stand.
const SECRETS: [&str; 13] = [
    "auth",
    "code",
    "cookie",
    "credential",
    "epoch",
    "hash",
    "key",
    "pass",
    "pending",
    "private",
    "secret",
    "token",
    "totp",
];

/// Members that hold settings of destinations. A webhook's whole address is its secret, and any setting may be one.
const SETTINGS: [&str; 3] = ["headers", "kwargs", "options"];

/// The kind of configs of groups, and the member of a version that holds the file.
const CONFIG: &str = "sensor_config";
const FILE: &str = "text";

/// A change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    /// When.
    time: String,
    /// Who: a person, a token by its name, or `hub`.
    by: String,
    /// What was changed: `person`, `token`, `suppression`, …
    kind: String,
    /// Its name.
    key: String,
    /// `created`, `changed`, `removed`.
    change: &'static str,
    /// What it said before, without secrets.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// What it says since, without secrets.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        // The file of a group's config may hold any secret; `GET /api/v1/configs/{group}` has it whole.
        let shown =
            |value| if row.kind == CONFIG { without_secrets(without_files(value)) } else { without_secrets(value) };
        Self {
            time: time(row.at),
            by: row.by,
            before: row.before.map(shown),
            after: row.after.map(shown),
            kind: row.kind,
            key: row.key,
            change: row.change.word(),
        }
    }
}

/// A page of changes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntries {
    /// The newest first.
    entries: Vec<AuditEntry>,
    /// What `after` takes for the next page; nothing on the last.
    next: Option<String>,
}

/// What is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// Who changed something.
    who: Option<String>,
    /// What was changed: `person`, `token`, `suppression`, …
    kind: Option<String>,
    /// What `next` of the page before said.
    after: Option<String>,
    /// Rows of a page, up to 1000.
    limit: Option<usize>,
}

/// Lists changes, the newest first
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit", params(Query), security(("token" = ["administer"])),
    responses((status = 200, body = AuditEntries)),
)]
pub(crate) async fn list(
    State(hub): State<Arc<Hub>>,
    caller: Caller,
    Asked(query): Asked<Query>,
) -> Result<Json<AuditEntries>, Problem> {
    caller.may(Scope::Administer)?;
    let limit = query.limit.unwrap_or(ROWS).clamp(1, MOST);
    let query = AuditQuery { by: query.who, kind: query.kind, after: cursor(query.after.as_deref())?, limit };
    let page = hub.store().audit(query).await?;
    let next = page.next.map(Cursor::to_text);
    Ok(Json(AuditEntries { entries: page.rows.into_iter().map(AuditEntry::from).collect(), next }))
}

/// A value without what nobody is to read.
fn without_secrets(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let shown = members.into_iter().map(|(name, value)| {
                let lower = name.to_lowercase();
                let value = if SETTINGS.contains(&lower.as_str()) {
                    without_texts(value)
                } else if SECRETS.iter().any(|part| lower.contains(part)) {
                    hide(value)
                } else {
                    without_secrets(value)
                };
                (name, value)
            });
            Value::Object(shown.collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_secrets).collect()),
        other => other,
    }
}

/// A value with its names, but none of its texts.
fn without_texts(value: Value) -> Value {
    match value {
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, without_texts(value))).collect(),
        Value::Array(values) => values.into_iter().map(without_texts).collect(),
        Value::String(_) => HIDDEN.into(),
        other => other,
    }
}

/// A config of a group without its files.
fn without_files(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let hidden = |(name, value)| if name == FILE { (name, hide(value)) } else { (name, without_files(value)) };
            members.into_iter().map(hidden).collect()
        }
        Value::Array(values) => values.into_iter().map(without_files).collect(),
        other => other,
    }
}

/// What stands for a value: that there is none is no secret, nor is yes or no.
fn hide(value: Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value,
        _ => HIDDEN.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_config_of_a_group_is_shown_without_its_files() {
        let body = json!({"versions": [{"version": 1, "by": "anna", "text": "url = 'https://hooks.example/T0'"}]});
        let row = AuditRow {
            at: aviary_event::Timestamp::from_micros(0),
            by: "anna".to_owned(),
            change: aviary_store::Change::Created,
            kind: CONFIG.to_owned(),
            key: "racks".to_owned(),
            before: None,
            after: Some(body),
        };
        let after = AuditEntry::from(row).after.expect("a body");
        assert_eq!(after, json!({"versions": [{"version": 1, "by": "anna", "text": "***"}]}));
    }

    #[test]
    fn secrets_are_hidden_and_the_rest_is_shown() {
        let shown = without_secrets(json!({
            "role": "admin", "password": "$argon2id$x", "totp": null, "epoch": "00", "nodes": ["a"],
            "options": {"url": "https://hooks.example/T0/B0", "retries": 3, "list": ["x"]},
            "more": [{"api_key": "k", "Authorization": "Bearer x", "port": 22}],
        }));
        assert_eq!(
            shown,
            json!({
                "role": "admin", "password": "***", "totp": null, "epoch": "***", "nodes": ["a"],
                "options": {"url": "***", "retries": 3, "list": ["***"]},
                "more": [{"api_key": "***", "Authorization": "***", "port": 22}],
            })
        );
    }
}
