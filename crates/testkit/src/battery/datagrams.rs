//! What a service over UDP may be made to send to somebody who never asked.

use aviary_event::Timestamp;
use aviary_service::{Allowance, Facts, Outbox, Protocol, Step, Transport};

use super::{Finding, Subject};
use crate::{NOW, facts};

/// Answers to a source that has proven nothing are, all together and as the frame lets them out, no larger
/// than what came from it; and no service takes for a proof what a stranger can write without having
/// received anything.
///
/// # Errors
/// With the first input that draws more, or passes for a proof.
pub fn strangers_get_no_more_than_they_send(subject: &Subject<'_>) -> Finding {
    let installation = subject.install()?;
    for (index, endpoint) in installation.service.endpoints().into_iter().enumerate() {
        if endpoint.protocol != Protocol::Udp {
            continue;
        }
        let facts = Facts { transport: Transport::Datagrams, ..facts(endpoint.port) };
        for input in &subject.inputs {
            let wrong = |what: &str| Err(format!("{}: {}: {what}", subject.entry.name, input.name));
            let mut allowance = Allowance::new(1000);
            let (mut came, mut went) = (0, 0);
            for datagram in &input.segments {
                let source = facts.peer.ip();
                allowance.received(source, datagram.len(), 0);
                came += datagram.len();
                let mut out = Outbox::for_datagrams(Timestamp::from_micros(NOW));
                installation.service.datagram(index, &facts, datagram, &mut out);
                let mut steps = out.into_steps();
                while !steps.is_empty() {
                    match steps.remove(0) {
                        Step::Reply(bytes) if allowance.spend(source, bytes.len(), 0) => went += bytes.len(),
                        Step::ReplyOr(bytes, otherwise) => {
                            let mut both = [bytes.len(), otherwise.len()].into_iter();
                            went += both.find(|length| allowance.spend(source, *length, 0)).unwrap_or(0);
                        }
                        Step::Proven => return wrong("passes for a proof, though nothing was sent to its source"),
                        // What opens a conversation goes to somebody who has proven nothing yet, either.
                        Step::Converse(mut dialogue) => {
                            let mut out = Outbox::for_datagrams(Timestamp::from_micros(NOW));
                            dialogue.open(&mut out);
                            steps.splice(..0, out.into_steps());
                        }
                        _ => {}
                    }
                }
            }
            if went > came {
                return wrong(&format!("{went} bytes went to who sent {came}"));
            }
        }
    }
    Ok(())
}
