//! The tree of objects that a persona shows: read from its table, looked up, and given values.
//!
//! A table is text, a line an object. `at OID` begins a section, `rows A | B` makes it a table with these
//! indices, and `.SUFFIX KIND VALUE` adds an object, with a value for each row or one for all. Text in
//! quotes as an index stands for its length and its octets.

use std::net::Ipv4Addr;

use super::codec::tag;
use super::value::{Kind, Moment};

/// One instance of an object.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    name: Vec<u32>,
    /// Arcs of the name that are the object's own; the rest say which instance.
    object: usize,
    kind: Kind,
    text: String,
}

/// A persona's objects.
#[derive(Debug)]
pub(super) struct Mib {
    /// In the order of their names.
    fixed: Vec<Instance>,
    /// Those whose name holds the address that the peer used: everything before it, everything after.
    local: Vec<(Vec<u32>, Vec<u32>, Instance)>,
}

/// What a GET finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The encoded value.
    Value(Vec<u8>),
    /// The object is there, and has other instances.
    NoInstance,
    /// Nothing of that name.
    NoObject,
}

impl Mib {
    /// Reads a table.
    ///
    /// # Errors
    /// With the first line that is none; tables are our own, and a test reads them all.
    pub(super) fn parse(table: &str) -> Result<Self, String> {
        let mut mib = Self { fixed: Vec::new(), local: Vec::new() };
        let mut base = String::new();
        let mut rows: Vec<String> = Vec::new();
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let wrong = || format!("`{line}`");
            let (word, rest) = line.split_once(' ').ok_or_else(wrong)?;
            match word {
                "at" => {
                    base = rest.to_owned();
                    rows.clear();
                }
                "rows" => rows = rest.split(" | ").map(|row| row.trim().to_owned()).collect(),
                suffix => {
                    let (kind, values) = rest.split_once(' ').ok_or_else(wrong)?;
                    let kind = Kind::of_word(kind).ok_or_else(wrong)?;
                    mib.add(&format!("{base}{suffix}"), &rows, kind, values).ok_or_else(wrong)?;
                }
            }
        }
        mib.fixed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(mib)
    }

    fn add(&mut self, object: &str, rows: &[String], kind: Kind, values: &str) -> Option<()> {
        if rows.is_empty() {
            let name = arcs(object)?;
            let object = name.len().checked_sub(1)?;
            self.fixed.push(Instance { name, object, kind, text: values.trim().to_owned() });
            return Some(());
        }
        let values: Vec<&str> = values.split(" | ").map(str::trim).collect();
        if values.len() != 1 && values.len() != rows.len() {
            return None;
        }
        let own = arcs(object)?;
        for (at, row) in rows.iter().enumerate() {
            let value = values.get(at).or(values.first())?;
            let number = row.rsplit('.').next().unwrap_or_default();
            let text = value.replace("{row}", number).replace("{n}", &at.saturating_add(1).to_string());
            let mut instance = Instance { name: own.clone(), object: own.len(), kind, text };
            if let Some((before, after)) = row.split_once("{ip}") {
                let before = [own.as_slice(), &index(before.trim_end_matches('.'))?].concat();
                self.local.push((before, index(after.trim_start_matches('.'))?, instance));
            } else {
                instance.name.extend(index(row)?);
                self.fixed.push(instance);
            }
        }
        Some(())
    }

    /// The tree as it is on this address at this moment.
    pub(super) fn view<'a>(&'a self, moment: &'a Moment<'a>) -> View<'a> {
        let mut local: Vec<Instance> = Vec::with_capacity(self.local.len());
        for (before, after, instance) in &self.local {
            let address = moment.address.octets().map(u32::from);
            let name = [before.as_slice(), &address, after].concat();
            local.push(Instance { name, ..instance.clone() });
        }
        local.sort_by(|a, b| a.name.cmp(&b.name));
        View { fixed: &self.fixed, local, moment }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.fixed.len() + self.local.len()
    }

    /// Each line's name and text, and its content if it has one.
    #[cfg(test)]
    pub(super) fn contents(&self, moment: &Moment<'_>) -> Vec<(String, Option<Vec<u8>>)> {
        let instances = self.fixed.iter().chain(self.local.iter().map(|(.., instance)| instance));
        instances
            .map(|i| {
                let what = format!("{} {}", super::codec::dotted(&i.name), i.text);
                (what, i.kind.content(&i.text, &i.name, moment))
            })
            .collect()
    }
}

/// The tree at one moment.
pub(super) struct View<'a> {
    fixed: &'a [Instance],
    local: Vec<Instance>,
    moment: &'a Moment<'a>,
}

impl View<'_> {
    /// The instance of this name. Version 1 has no 64-bit counters, so they are not there for it.
    pub(super) fn get(&self, name: &[u32], is_v1: bool) -> Found {
        let mut found = Found::NoObject;
        for list in [self.fixed, &self.local] {
            let at = list.partition_point(|instance| instance.name.as_slice() < name);
            if let Some(instance) = list.get(at).filter(|instance| instance.name == name && instance.is_for(is_v1)) {
                return Found::Value(self.value(instance));
            }
            // Instances of one object stand together, so one of them is next to where the name would be.
            let neighbours = [list.get(at), at.checked_sub(1).and_then(|before| list.get(before))];
            let has_object = |instance: &&Instance| {
                instance.name.get(..instance.object).is_some_and(|object| name.starts_with(object))
            };
            if neighbours.iter().flatten().any(has_object) {
                found = Found::NoInstance;
            }
        }
        found
    }

    /// The first instance behind this name, with its encoded value.
    pub(super) fn next(&self, name: &[u32], is_v1: bool) -> Option<(&[u32], Vec<u8>)> {
        let of = |list: &'_ [Instance]| -> Option<usize> {
            let at = list.partition_point(|instance| instance.name.as_slice() <= name);
            let rest = list.get(at..)?;
            rest.iter().position(|instance| instance.is_for(is_v1)).map(|more| at.saturating_add(more))
        };
        let fixed = of(self.fixed).and_then(|at| self.fixed.get(at));
        let local = of(&self.local).and_then(|at| self.local.get(at));
        let first = match (fixed, local) {
            (Some(a), Some(b)) => Some(if a.name <= b.name { a } else { b }),
            (a, b) => a.or(b),
        }?;
        Some((&first.name, self.value(first)))
    }

    fn value(&self, instance: &Instance) -> Vec<u8> {
        instance.kind.encode(&instance.text, &instance.name, self.moment)
    }
}

impl Instance {
    fn is_for(&self, is_v1: bool) -> bool {
        !is_v1 || self.kind.tag() != tag::COUNTER64
    }
}

/// A dotted name.
pub(super) fn arcs(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|arc| arc.parse().ok()).collect()
}

/// An index: nothing, numbers with dots, or text in quotes as its length and octets.
fn index(text: &str) -> Option<Vec<u32>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let Some(quoted) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return arcs(text) };
    let length = u32::try_from(quoted.len()).ok()?;
    Some(std::iter::once(length).chain(quoted.bytes().map(u32::from)).collect())
}

/// The IPv4 address that a peer used; a mapped one is unwrapped, and IPv6 has none.
pub(super) fn address_of(local: std::net::IpAddr) -> Ipv4Addr {
    match local.to_canonical() {
        std::net::IpAddr::V4(address) => address,
        std::net::IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
    }
}
