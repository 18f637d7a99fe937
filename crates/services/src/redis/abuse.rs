//! Known ways to take over a Redis server, recognised by their steps.

/// What the session did so far that gives a later step its meaning.
#[derive(Debug, Default)]
pub(super) struct Abuse {
    /// The last `dir` that was to be set.
    dir: Vec<u8>,
}

impl Abuse {
    /// The technique of which the command is a step.
    pub(super) fn technique(&mut self, words: &[Vec<u8>]) -> Option<&'static str> {
        let word = |n: usize| words.get(n).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        let (name, sub) = (word(0), word(1));
        match (name.as_slice(), sub.as_slice()) {
            (b"config", b"set") => self.config(words.get(2..).unwrap_or_default()),
            (b"slaveof" | b"replicaof", _) if words.len() == 3 && !(sub == b"no" && word(2) == b"one") => {
                Some("replication from a master that the peer names")
            }
            (b"module", b"load" | b"loadex") => Some("native code through MODULE LOAD"),
            (b"system.exec" | b"system.rev" | b"shell.exec", _) => Some("a command of a loaded module"),
            (b"eval" | b"eval_ro", _) => Some(script(words.get(1).map_or(&[], Vec::as_slice))),
            (b"script", b"load") | (b"function", b"load") => Some(script(words.get(2).map_or(&[], Vec::as_slice))),
            (b"set" | b"setex" | b"psetex" | b"setnx" | b"append" | b"mset" | b"getset", _) => {
                words.iter().skip(2).find_map(|value| payload(value))
            }
            (b"flushall" | b"flushdb", _) => Some("data destroyed"),
            (b"migrate", _) => Some("data sent to a host that the peer names"),
            (b"debug", _) => Some("DEBUG"),
            _ => None,
        }
    }

    fn config(&mut self, pairs: &[Vec<u8>]) -> Option<&'static str> {
        let mut technique = None;
        for pair in pairs.chunks(2) {
            let [name, value] = pair else { continue };
            match name.to_ascii_lowercase().as_slice() {
                b"dir" => {
                    self.dir.clone_from(value);
                    technique = Some(target(value));
                }
                b"dbfilename" => {
                    let path = [self.dir.as_slice(), b"/", value].concat();
                    technique = Some(target(&path));
                }
                b"slave-read-only" | b"replica-read-only" => technique = technique.or(Some("a replica made writable")),
                b"requirepass" | b"protected-mode" | b"enable-module-command" | b"enable-debug-command" => {
                    technique = technique.or(Some("protection changed through CONFIG SET"));
                }
                _ => {}
            }
        }
        technique
    }
}

/// What is written where the dump is to go.
fn target(path: &[u8]) -> &'static str {
    let holds = |part: &str| super::holds(path, part);
    if holds("cron") {
        "a cron job written through CONFIG SET"
    } else if holds(".ssh") || holds("authorized_keys") {
        "an SSH key written through CONFIG SET"
    } else if holds("www") || holds("html") || holds("htdocs") || holds(".php") || holds(".jsp") {
        "a web shell written through CONFIG SET"
    } else {
        "a file written through CONFIG SET"
    }
}

fn script(text: &[u8]) -> &'static str {
    let out = ["package", "loadlib", "io.popen", "os.execute", "luaopen_", "loadstring"];
    if out.iter().any(|part| super::holds(text, part)) { "escape from the Lua sandbox" } else { "Lua code" }
}

fn payload(value: &[u8]) -> Option<&'static str> {
    let holds = |part: &str| super::holds(value, part);
    if holds("* * * *") || holds("@reboot ") {
        Some("a cron job stored in a key")
    } else if holds("ssh-rsa ") || holds("ssh-ed25519 ") || holds("ecdsa-sha2-") {
        Some("an SSH key stored in a key")
    } else if holds("<?php") || holds("<%") {
        Some("a web shell stored in a key")
    } else if value.starts_with(b"\x7fELF") {
        Some("a program stored in a key")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn techniques(commands: &[&str]) -> Vec<Option<&'static str>> {
        let mut abuse = Abuse::default();
        let words = |line: &&str| line.split('|').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        commands.iter().map(|line| abuse.technique(&words(line))).collect()
    }

    #[test]
    fn recognises_the_cron_chain() {
        let chain = [
            "FLUSHALL",
            "set|x|\n*/1 * * * * curl x\n",
            "config|set|dir|/var/spool/cron/",
            "CONFIG|SET|dbfilename|root",
            "save",
        ];
        let expected = [
            Some("data destroyed"),
            Some("a cron job stored in a key"),
            Some("a cron job written through CONFIG SET"),
            Some("a cron job written through CONFIG SET"),
            None,
        ];
        assert_eq!(techniques(&chain), expected);
    }

    #[test]
    fn recognises_masters_modules_and_scripts() {
        let lines = [
            "slaveof|no|one",
            "REPLICAOF|192.0.2.9|6379",
            "MODULE|LOAD|/tmp/exp.so",
            "eval|return 1|0",
            "EVAL|local f = package.loadlib('x', 'luaopen_io')|0",
        ];
        let expected = [
            None,
            Some("replication from a master that the peer names"),
            Some("native code through MODULE LOAD"),
            Some("Lua code"),
            Some("escape from the Lua sandbox"),
        ];
        assert_eq!(techniques(&lines), expected);
    }

    #[test]
    fn leaves_everyday_commands_alone() {
        assert_eq!(techniques(&["get|a", "set|a|b", "config|get|dir", "slaveof", "config|set|dir"]), [None; 5]);
    }
}
