//! What a script may take. All are fixed: a module that needs more is a service to be written in Rust.

use std::time::Duration;

/// Longest file of a module, in bytes.
pub const FILE: u64 = 256 * 1024;
/// Most modules in a folder.
pub const MODULES: usize = 100;
/// Operations of Rhai a call. `while true {}` is through with them in less than a millisecond, but an operation may
/// be a search through a long text: see [`TIME`].
pub const OPERATIONS: u64 = 100_000;
/// Time on the processor a call, where the frame has lent a clock.
pub const TIME: Duration = Duration::from_millis(20);
/// Operations between two looks at that clock.
pub const OPERATIONS_A_LOOK: u64 = 256;
/// Calls of functions inside one another.
pub const CALL_LEVELS: usize = 16;
/// Depth of an expression, outside of functions and inside.
pub const EXPRESSION_DEPTH: (usize, usize) = (32, 32);
/// Bytes of a text.
pub const TEXT: usize = 64 * 1024;
/// Items of an array and bytes of a blob, with all that is inside it. It also bounds how deep arrays can lie in one
/// another: copying and freeing one takes stack for each level.
pub const ITEMS: usize = 2048;
/// Entries of a map, with all that is inside it.
pub const MAP: usize = 256;
/// Variables at once.
pub const VARIABLES: usize = 64;
/// Functions of a module.
pub const FUNCTIONS: usize = 64;
/// Bytes of what a session keeps from call to call, and number of names.
pub const KEPT: (usize, usize) = (64 * 1024, 64);
/// Levels of arrays and maps inside one another in what is kept, reported or declared.
pub const DEPTH: usize = 16;
/// Bytes that a call may send.
pub const SENT: usize = 256 * 1024;
/// Events that a call may report.
pub const REPORTS: usize = 64;
/// Pauses a call, and the longest of them in milliseconds.
pub const PAUSES: (usize, i64) = (16, 60_000);
/// Longest line in bytes; what is longer is given as several.
pub const LINE: usize = 4096;
/// Bytes that `on_data` sees at once.
pub const WINDOW: usize = ITEMS;
/// Bytes that a peer may send in one connection.
pub const RECEIVED: u64 = 1024 * 1024;
/// Connections at once to a module.
pub const CONNECTIONS: usize = 1000;
/// Config keys of a module.
pub const KEYS: usize = 32;

/// Bytes of a text in an output, and of all that one event has it send: events hold what a peer sent, whole.
pub const EMITTED: usize = 1024 * 1024;
/// Messages that an output sends about one event.
pub const SENDS: usize = 16;
/// Entries of a map in an output, with all that is inside it.
pub const EMITTED_MAP: usize = 1024;
/// Levels of an event that an output sees; what lies deeper is text. It is less than [`DEPTH`], so that an event has
/// room in what is sent.
pub const EVENT_DEPTH: usize = 12;
/// Destinations of an output.
pub const DESTINATIONS: usize = 16;
/// Longest reason that an output gives, in characters.
pub const REASON: usize = 300;
