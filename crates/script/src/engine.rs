//! The engine: Rhai with the packages that compute, and none that reaches out of the script.
//!
//! Rhai's own core package is left out, since `sleep` is in it; so are time, files and `import`. `eval` is
//! switched off, so that no text of a peer becomes code.

use std::any::TypeId;
use std::cell::Cell;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, BitFieldPackage, LogicPackage, MoreStringPackage, Package as _,
};
use rhai::{AST, Blob, CallFnOptions, Dynamic, Engine, EvalAltResult, FuncArgs, Module, Scope};

use crate::text::{from_text, to_text};
use crate::{limits, outgoing, session};

/// A clock of the processor time of the thread that asks.
pub type Clock = fn() -> Duration;

/// The clock, if the frame lent one.
static CLOCK: OnceLock<Clock> = OnceLock::new();

thread_local! {
    /// When the call that runs on this thread was first looked at.
    static SINCE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Lends a clock that ends scripts which take longer than [`limits::TIME`]. Nothing here reads a clock of its
/// own: without one, the same bytes have the same result on every machine.
pub fn lend_clock(clock: Clock) {
    let _ = CLOCK.set(clock);
}

/// Whether a call that has done so many operations has taken too long. Short calls never look.
fn overdue(operations: u64) -> Option<Dynamic> {
    if !operations.is_multiple_of(limits::OPERATIONS_A_LOOK) {
        return None;
    }
    let now = CLOCK.get()?();
    if operations == limits::OPERATIONS_A_LOOK {
        SINCE.set(now);
    }
    (now.saturating_sub(SINCE.get()) > limits::TIME).then(|| "took too long".into())
}

/// The engine of all modules of this process; what they print goes nowhere.
pub(crate) static ENGINE: LazyLock<Engine> = LazyLock::new(|| engine(|_| {}));

/// The engine of all outputs of this process; what they print goes nowhere.
pub(crate) static OUTPUT_ENGINE: LazyLock<Engine> = LazyLock::new(|| output_engine(|_| {}));

/// An engine for modules. `print` gets what scripts print.
pub(crate) fn engine(print: impl Fn(&str) + Send + Sync + Clone + 'static) -> Engine {
    let mut engine = bounded(print);
    session::register(&mut engine);
    engine
}

/// An engine for outputs.
pub(crate) fn output_engine(print: impl Fn(&str) + Send + Sync + Clone + 'static) -> Engine {
    let mut engine = bounded(print);
    engine.set_max_string_size(limits::EMITTED).set_max_map_size(limits::EMITTED_MAP);
    outgoing::register(&mut engine);
    engine
}

/// Calls a function of a script, with something for the engine's own functions to find; the error is its name and
/// Rhai's text.
pub(crate) fn call(
    engine: &Engine,
    script: &AST,
    function: &str,
    values: impl FuncArgs,
    tag: Dynamic,
) -> Result<Dynamic, String> {
    let options = CallFnOptions::new().eval_ast(false).with_tag(tag);
    let called = engine.call_fn_with_options::<Dynamic>(options, &mut Scope::new(), script, function, values);
    called.map_err(|error| match error.unwrap_inner() {
        EvalAltResult::ErrorTerminated(_, place) => {
            format!("`{function}`: takes longer than {} ms ({place})", limits::TIME.as_millis())
        }
        _ => format!("`{function}`: {error}"),
    })
}

/// An engine with all bounds.
fn bounded(print: impl Fn(&str) + Send + Sync + Clone + 'static) -> Engine {
    let mut engine = Engine::new_raw();
    ArithmeticPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    BasicFnPackage::new().register_into_engine(&mut engine);
    BitFieldPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicBlobPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    engine
        .disable_symbol("eval")
        // Functions can lie in one another by `curry`, as deep as no bound on data sees, and freeing them takes stack.
        .disable_symbol("curry")
        .set_max_operations(limits::OPERATIONS)
        .set_max_call_levels(limits::CALL_LEVELS)
        .set_max_expr_depths(limits::EXPRESSION_DEPTH.0, limits::EXPRESSION_DEPTH.1)
        .set_max_string_size(limits::TEXT)
        .set_max_array_size(limits::ITEMS)
        .set_max_map_size(limits::MAP)
        .set_max_variables(limits::VARIABLES)
        .set_max_functions(limits::FUNCTIONS);
    engine.on_progress(overdue);
    // Bytes in a `for` are numbers as they are in an index; Rhai's own iterator gives what cannot be reckoned with.
    let mut bytes = Module::new();
    bytes.set_iter(TypeId::of::<Blob>(), |blob| {
        let bytes = blob.into_blob().unwrap_or_default();
        Box::new(bytes.into_iter().map(|byte| Dynamic::from(i64::from(byte))))
    });
    engine.register_global_module(bytes.into());
    let debug = print.clone();
    engine.on_print(move |text| print(text));
    engine.on_debug(move |text, _, _| debug(text));
    engine.register_fn("text", |blob: Blob| to_text(&blob));
    engine.register_fn("bytes", from_text);
    engine.register_fn("hex", |blob: Blob| hex(&blob));
    engine.register_fn("hex", |text: &str| hex(&from_text(text)));
    engine.register_fn("be_int", |blob: Blob, start: i64, count: i64| {
        piece(&blob, start, count).map(|bytes| whole(&bytes))
    });
    engine.register_fn("le_int", |blob: Blob, start: i64, count: i64| {
        piece(&blob, start, count).map(|bytes| whole(&bytes.into_iter().rev().collect::<Vec<u8>>()))
    });
    engine.register_fn("be_bytes", last_bytes);
    engine.register_fn("index_of", |blob: &mut Blob, byte: i64| {
        place(u8::try_from(byte).ok().and_then(|byte| blob.iter().position(|other| *other == byte)))
    });
    engine.register_fn("index_of", |blob: &mut Blob, text: &str| place(find(blob, &from_text(text))));
    engine.register_fn("index_of", |blob: &mut Blob, bytes: Blob| place(find(blob, &bytes)));
    engine.register_fn("le_bytes", |number: i64, count: i64| {
        last_bytes(number, count).map(|bytes| bytes.into_iter().rev().collect::<Blob>())
    });
    engine
}

/// Where bytes are first found among others.
fn find(blob: &[u8], bytes: &[u8]) -> Option<usize> {
    if bytes.is_empty() {
        return Some(0);
    }
    blob.windows(bytes.len()).position(|window| window == bytes)
}

/// A place as Rhai's own `index_of` gives it.
fn place(found: Option<usize>) -> i64 {
    found.and_then(|place| i64::try_from(place).ok()).unwrap_or(-1)
}

/// Up to eight bytes of a blob.
fn piece(blob: &Blob, start: i64, count: i64) -> Result<Blob, Box<EvalAltResult>> {
    let start = usize::try_from(start).ok();
    let count = usize::try_from(count).ok().filter(|count| (1..=8).contains(count));
    let piece = start.zip(count).and_then(|(start, count)| blob.get(start..start.checked_add(count)?));
    piece.map(<[u8]>::to_vec).ok_or_else(|| format!("no such 1 to 8 bytes among {}", blob.len()).into())
}

/// The number that bytes are, the first the most significant; eight of them may be negative.
fn whole(bytes: &[u8]) -> i64 {
    bytes.iter().fold(0_i64, |number, byte| number.wrapping_shl(8) | i64::from(*byte))
}

/// The last so many bytes of a number, the most significant first.
fn last_bytes(number: i64, count: i64) -> Result<Blob, Box<EvalAltResult>> {
    let bytes = number.to_be_bytes();
    let skipped =
        usize::try_from(count).ok().filter(|count| *count > 0).and_then(|count| bytes.len().checked_sub(count));
    let last = skipped.and_then(|skipped| bytes.get(skipped..));
    last.map(<[u8]>::to_vec).ok_or_else(|| format!("a number has 1 to 8 bytes, not {count}").into())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(script: &str) -> Result<Dynamic, String> {
        ENGINE.eval::<Dynamic>(script).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_come_out_of_bytes_and_go_in() {
        for (script, number) in [
            ("be_int(bytes(\"\\x01\\x02\\x03\"), 1, 2)", 0x0203),
            ("le_int(bytes(\"\\x01\\x02\\x03\"), 0, 2)", 0x0201),
            ("be_int(be_bytes(-1, 8), 0, 8)", -1),
            ("be_int(le_bytes(258, 2), 0, 2)", 0x0201),
            ("bytes(text(be_bytes(65535, 2))).len", 2),
            ("bytes(\"a\\x03b\\x03\").index_of(3)", 1),
            ("bytes(\"a\").index_of(300)", -1),
            ("bytes(\"GET /\\r\\n\").index_of(\"\\r\\n\")", 5),
            ("bytes(\"abc\").index_of(bytes(\"cd\"))", -1),
            ("let sum = 0; for byte in bytes(\"\\x01\\x02\\x04\") { sum ^= byte; } sum", 7),
        ] {
            assert_eq!(eval(script).expect(script).as_int(), Ok(number), "{script}");
        }
        assert_eq!(eval("hex(be_bytes(500, 3)) + hex(\"A\")").expect("hex").into_string(), Ok("0001f441".to_owned()));
        for script in
            ["be_int(blob(2, 0), 1, 2)", "be_int(blob(9, 0), 0, 9)", "be_int(blob(9, 0), -1, 1)", "be_bytes(1, 9)"]
        {
            assert!(eval(script).is_err(), "{script}");
        }
    }
}
