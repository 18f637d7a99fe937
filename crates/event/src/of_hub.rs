//! Kinds of event that a hub reports: what it tells people of incidents, and what is wrong with itself.

use crate::{Class, KindInfo};

/// What a hub tells of an incident, or of several.
pub static ALERT: KindInfo = KindInfo {
    number: 30020,
    constant: "LOG_ALERT",
    class: Class::Command,
    when: "a hub tells a channel of an incident: that it began, or what is new of it; goes to channels alone",
    keys: &["ALERTS", "EVENTS", "FIRST", "INCIDENT", "LAST", "NEW", "POLICY", "SENSORS", "SERVICES", "STAGE", "TEXT"],
    technique: &[],
};

/// Something is wrong with a hub.
pub static TROUBLE: KindInfo = KindInfo {
    number: 30021,
    constant: "LOG_HUB_TROUBLE",
    class: Class::Limit,
    when: "a hub cannot do what it should, such as to deliver alerts; an incident of its own",
    keys: &["ERROR", "TEXT"],
    technique: &[],
};

/// All of them.
pub static HUB_KINDS: [&KindInfo; 2] = [&ALERT, &TROUBLE];
