//! Services that ask or read files: what comes back to a question, and lines that others write.

use std::collections::BTreeSet;

use aviary_event::Timestamp;
use aviary_service::{Heard, Interface, Outbox, Seeker, Service, Step};

use crate::{Line, NOW, Transcript};

/// An interface that never was.
fn interface() -> Interface {
    Interface {
        name: "eth0".to_owned(),
        index: 2,
        is_loopback: false,
        v4: vec![([192, 0, 2, 1].into(), Some([192, 0, 2, 255].into()))],
        v6: vec![[0xfe80, 0, 0, 0, 0, 0, 0, 1].into()],
    }
}

/// What a service makes of these segments when they come back to its questions, and of their lines when
/// they stand in a file that it reads. One transcript each.
pub(super) fn overheard(service: &dyn Service, entropy: [u8; 32], segments: &[Vec<u8>]) -> Vec<Transcript> {
    let mut transcripts = Vec::new();
    if let Some(mut seeker) = service.seeker() {
        transcripts.push(answers(&mut *seeker, entropy, segments));
    }
    for mut follow in service.follows() {
        let mut transcript = Transcript::default();
        for line in segments.concat().split(|byte| *byte == b'\n') {
            transcript.lines.push(Line::Sent(line.to_vec()));
            let told = follow.reader.line(line);
            transcript.lines.extend(told.map(|told| Line::Event(told.kind.number, told.data)));
        }
        transcripts.push(transcript);
    }
    transcripts
}

/// Each segment as it is, and again behind the first two bytes of each question, where protocols have
/// their ids.
fn answers(seeker: &mut dyn Seeker, entropy: [u8; 32], segments: &[Vec<u8>]) -> Transcript {
    let mut transcript = Transcript::default();
    seeker.begin();
    let questions = seeker.ask(&interface(), entropy);
    let asked: BTreeSet<(u16, Vec<u8>)> = questions
        .iter()
        .map(|question| (question.to.port(), question.bytes.iter().take(2).copied().collect()))
        .collect();
    for (port, id) in &asked {
        for segment in segments {
            let named = [id.as_slice(), segment.get(2..).unwrap_or_default()].concat();
            for bytes in [segment, &named] {
                transcript.lines.push(Line::Sent(bytes.clone()));
                let source = ([192, 0, 2, 7], *port).into();
                let heard = Heard { interface: "eth0", source, port: *port, hops: Some(64), bytes };
                let mut out = Outbox::new(Timestamp::from_micros(NOW));
                seeker.hear(&heard, &mut out);
                for step in out.into_steps() {
                    if let Step::Report(kind, data) = step {
                        transcript.lines.push(Line::Event(kind.number, data));
                    }
                }
            }
        }
    }
    transcript
}
