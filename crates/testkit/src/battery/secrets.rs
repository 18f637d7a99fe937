//! Where randomness may come from, and that no two installations share any.

use super::{Finding, Subject};

/// The same facts and the same secrets give the same answers: no clock, no randomness of its own.
///
/// # Errors
/// With the input that was answered in two ways.
pub fn same_facts_same_answers(subject: &Subject<'_>) -> Finding {
    let installation = subject.install()?;
    for input in &subject.inputs {
        let told = || -> Vec<String> {
            installation.exchanges([0x42; 32], &input.segments).iter().map(ToString::to_string).collect()
        };
        let (first, second) = (told(), told());
        if first != second {
            return Err(format!(
                "{}: {}: answered in two ways:\n{first:?}\n{second:?}",
                subject.entry.name, input.name
            ));
        }
    }
    Ok(())
}

/// Two installations have other secrets, and two connections with other entropy that differ at all
/// differ between installations too.
///
/// # Errors
/// With the secret, or the answer, that is the same in both.
pub fn installations_share_nothing(subject: &Subject<'_>) -> Finding {
    let (here, there) = (subject.install()?, subject.install()?);
    for ((name, a), (_, b)) in here.slots.iter().zip(&there.slots) {
        if a.wait() == b.wait() {
            return Err(format!("{}: the secret `{name}` is the same in two installations", subject.entry.name));
        }
    }
    for input in &subject.inputs {
        let replies = |installation: &super::Installation, entropy: u8| -> Vec<Vec<u8>> {
            let transcripts = installation.exchanges([entropy; 32], &input.segments);
            transcripts.iter().map(crate::Transcript::replies).collect()
        };
        let (first, second, elsewhere) = (replies(&here, 0x42), replies(&here, 0x17), replies(&there, 0x18));
        if first != second && (first == elsewhere || second == elsewhere) {
            return Err(format!("{}: {}: two installations answer alike", subject.entry.name, input.name));
        }
    }
    Ok(())
}
