//! Gives up what the canary no longer needs once its ports are bound.

use nix::unistd::{Gid, Group, Uid, User};

/// Whom to become.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// User name or number.
    pub user: Option<String>,
    /// Group name or number; the user's own if missing.
    pub group: Option<String>,
}

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// No such user.
    #[error("there is no user `{name}`")]
    User {
        /// The name or number.
        name: String,
    },
    /// No such group.
    #[error("there is no group `{name}`")]
    Group {
        /// The name or number.
        name: String,
    },
    /// A system call failed.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: nix::Error,
    },
}

/// A resolved identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The user.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
}

impl Identity {
    /// Looks names up; `None` when neither user nor group was named.
    ///
    /// # Errors
    /// When one does not exist.
    pub fn resolve(&self) -> Result<Option<Resolved>, PrivilegeError> {
        if self.user.is_none() && self.group.is_none() {
            return Ok(None);
        }
        let user = self.user.as_deref().map(find_user).transpose()?;
        let group = self.group.as_deref().map(find_group).transpose()?;
        let uid = user.as_ref().map_or_else(Uid::current, |user| user.0);
        let gid = group.or(user.and_then(|user| user.1)).unwrap_or_else(Gid::current);
        Ok(Some(Resolved { uid, gid }))
    }
}

fn find_user(name: &str) -> Result<(Uid, Option<Gid>), PrivilegeError> {
    if let Ok(number) = name.parse::<u32>() {
        let uid = Uid::from_raw(number);
        return Ok((uid, User::from_uid(uid).ok().flatten().map(|user| user.gid)));
    }
    match User::from_name(name) {
        Ok(Some(user)) => Ok((user.uid, Some(user.gid))),
        _ => Err(PrivilegeError::User { name: name.to_owned() }),
    }
}

fn find_group(name: &str) -> Result<Gid, PrivilegeError> {
    if let Ok(number) = name.parse::<u32>() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        _ => Err(PrivilegeError::Group { name: name.to_owned() }),
    }
}

/// Becomes the identity for good, gives up capabilities, and forbids gaining any. To be called before
/// any thread is started. Root that stays root keeps its files and nothing else: without capabilities
/// it may not bind low ports, trace, mount, or read what is others'. `keep_capabilities` leaves all
/// as it is.
///
/// # Errors
/// When a step fails that the operator asked for; capabilities are given up as far as they were held.
pub(crate) fn give_up(identity: Option<Resolved>, keep_capabilities: bool) -> Result<(), PrivilegeError> {
    let system = |what| move |source| PrivilegeError::System { what, source };
    if let Some(Resolved { uid, gid }) = identity
        && (uid != Uid::effective() || gid != Gid::effective())
    {
        nix::unistd::setgroups(&[gid]).map_err(system("set the groups"))?;
        nix::unistd::setresgid(gid, gid, gid).map_err(system("set the group"))?;
        nix::unistd::setresuid(uid, uid, uid).map_err(system("set the user"))?;
    }
    if keep_capabilities {
        return Ok(());
    }
    nix::sys::prctl::set_no_new_privs().map_err(system("forbid new privileges"))?;
    for set in [caps::CapSet::Ambient, caps::CapSet::Inheritable, caps::CapSet::Effective, caps::CapSet::Permitted] {
        if let Err(error) = caps::clear(None, set) {
            tracing::debug!(?set, %error, "capabilities not cleared");
        }
    }
    Ok(())
}

/// What the process holds now, for `aviary status`.
#[must_use]
pub fn held() -> Vec<String> {
    let mut held = vec![format!("user {}, group {}", Uid::effective(), Gid::effective())];
    let permitted = caps::read(None, caps::CapSet::Permitted).unwrap_or_default();
    held.push(match permitted.len() {
        0 => "no capabilities".to_owned(),
        n => format!("{n} capabilities"),
    });
    let confined = nix::sys::prctl::get_no_new_privs().unwrap_or(false);
    held.push(if confined { "no new privileges" } else { "may gain privileges" }.to_owned());
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: Option<&str>, group: Option<&str>) -> Identity {
        Identity { user: user.map(str::to_owned), group: group.map(str::to_owned) }
    }

    #[test]
    fn names_and_numbers_mean_the_same() {
        let root = Resolved { uid: Uid::from_raw(0), gid: Gid::from_raw(0) };
        for (user, group) in [("root", "root"), ("0", "0"), ("root", "0")] {
            assert_eq!(identity(Some(user), Some(group)).resolve().unwrap(), Some(root));
        }
    }

    #[test]
    fn nobody_named_is_nobody_to_become() {
        assert_eq!(Identity::default().resolve().unwrap(), None);
    }

    #[test]
    fn a_user_brings_its_own_group() {
        let nobody = User::from_name("nobody").unwrap().unwrap();
        let found = identity(Some("nobody"), None).resolve().unwrap().unwrap();
        assert_eq!((found.uid, found.gid), (nobody.uid, nobody.gid));
        // A number without an entry has none; the group stays.
        let found = identity(Some("54321"), None).resolve().unwrap().unwrap();
        assert_eq!((found.uid.as_raw(), found.gid), (54321, Gid::current()));
    }

    #[test]
    fn who_does_not_exist_is_named() {
        let error = identity(Some("no-such-user"), None).resolve().unwrap_err();
        assert_eq!(error.to_string(), "there is no user `no-such-user`");
        let error = identity(None, Some("no-such-group")).resolve().unwrap_err();
        assert_eq!(error.to_string(), "there is no group `no-such-group`");
    }

    #[test]
    fn what_is_held_is_said_in_words() {
        let held = held();
        assert_eq!(held.len(), 3);
        assert!(held[0].contains(&Uid::effective().to_string()), "{held:?}");
    }
}
