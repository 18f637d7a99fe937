//! The audit log of a Samba server that is kept: OpenCanary's event 5000 for each file that is opened.
//!
//! Event: 5000. Keys: `smb.enabled`, `smb.auditfile`.
//!
//! Tried with OpenCanary's own parser on the same lines.

mod audit;

use std::path::PathBuf;

use aviary_config::{Key, Shape};
use aviary_event::{Class, KindInfo};
use aviary_service::{Endpoint, Entry, Follow, Materials, Rejection, Service};

use self::audit::Audit;

/// The registry's entry.
pub(crate) static ENTRY: Entry = Entry {
    name: "smb",
    summary: "reads the audit log of a Samba server",
    opencanary: "CanarySamba in opencanary.modules.samba",
    keys: KEYS,
    kinds: &KINDS,
    build,
};

static KEYS: &[Key] = &[
    Key { name: "smb.enabled", shape: Shape::Flag, default: "false", doc: "Whether the audit log is read." },
    Key {
        name: "smb.auditfile",
        shape: Shape::Path,
        default: "\"/var/log/samba-audit.log\"",
        doc: "Audit log of a Samba server to watch.",
    },
];

static KINDS: [KindInfo; 1] = [KindInfo {
    number: 5000,
    constant: "LOG_SMB_FILE_OPEN",
    class: Class::Command,
    when: "each line of the audit log of a Samba server",
    keys: &[
        "AUDITACTION",
        "DOMAIN",
        "FILENAME",
        "LOCALNAME",
        "REMOTENAME",
        "SHARENAME",
        "SMBARCH",
        "SMBVER",
        "STATUS",
        "USER",
    ],
    technique: &["T1039"],
}];

struct AuditedSamba {
    file: PathBuf,
}

impl Service for AuditedSamba {
    fn endpoints(&self) -> Vec<Endpoint> {
        Vec::new()
    }

    fn follows(&self) -> Vec<Follow> {
        vec![Follow { path: self.file.clone(), reader: Box::new(Audit::new(&KINDS[0])) }]
    }
}

fn build(materials: &Materials<'_>) -> Result<Box<dyn Service>, Rejection> {
    let file = materials.settings.path("smb.auditfile");
    let file = file.ok_or_else(|| Rejection::new("smb.auditfile", "is empty; accepted: a path in double quotes"))?;
    Ok(Box::new(AuditedSamba { file }))
}
