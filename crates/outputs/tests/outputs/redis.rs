//! The Redis output against servers of our own; the real one is tried in `tests/clients`.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use aviary_event::Value;
use aviary_output::{DeliveryError, Output};
use serde_json::{Value as Json, json};

use crate::bench::{Setup, deliver, deliver_all, event, event_with, events, temporary};

/// A connection: what its server answers to commands of a name, one after the other, instead of what Redis would.
#[derive(Default)]
struct Play {
    answers: HashMap<&'static str, Vec<&'static str>>,
    /// Ends the connection instead of answering this command.
    dies_at: Option<&'static str>,
    /// Ends the connection when it was asked this often.
    pings: Option<usize>,
    /// Answers nothing at all.
    silent: bool,
}

fn play(answers: &[(&'static str, &'static str)]) -> Play {
    let mut play = Play::default();
    for (name, answer) in answers {
        play.answers.entry(name).or_default().push(answer);
    }
    play
}

type Command = Vec<String>;

/// A server and the commands of each connection, told at its end.
fn server(plays: Vec<Play>) -> (u16, Receiver<Vec<Command>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = channel();
    thread::spawn(move || {
        for play in plays {
            let (stream, _) = listener.accept().expect("a connection");
            if play.silent {
                std::mem::forget(stream);
                continue;
            }
            let _ = tell.send(serve(stream, play));
        }
    });
    (port, told)
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Command> {
    let number = |stream: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
        line.trim_end()[1..].parse::<usize>().ok()
    };
    let count = number(stream)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number(stream)? + 2];
        stream.read_exact(&mut word).ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8(word).expect("text"));
    }
    Some(words)
}

fn serve(stream: TcpStream, mut play: Play) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut writer = stream.try_clone().expect("a socket");
    let mut reader = BufReader::new(stream);
    let mut queued = None;
    while let Some(words) = read(&mut reader) {
        let name = words[0].clone();
        commands.push(words);
        if play.dies_at == Some(name.as_str()) || (name == "PING" && play.pings == Some(0)) {
            break;
        }
        if name == "PING" {
            play.pings = play.pings.map(|left| left - 1);
        }
        let prepared = play.answers.get_mut(name.as_str()).filter(|answers| !answers.is_empty());
        let answer = match (prepared.map(|answers| answers.remove(0)), name.as_str()) {
            (Some(answer), _) => answer.to_owned(),
            (None, "PING") => "+PONG".to_owned(),
            (None, "MULTI") => {
                queued = Some(0);
                "+OK".to_owned()
            }
            (None, "EXEC") => match queued.take() {
                Some(count) => format!("*{count}{}", "\r\n$3\r\n1-0".repeat(count)),
                None => "-ERR EXEC without MULTI".to_owned(),
            },
            (None, "XADD" | "RPUSH" | "PUBLISH") => match &mut queued {
                Some(count) => {
                    *count += 1;
                    "+QUEUED".to_owned()
                }
                None => "$3\r\n1-0".to_owned(),
            },
            (None, _) => "+OK".to_owned(),
        };
        if writer.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
            break;
        }
    }
    commands
}

fn output(port: u16, mut options: Json) -> Box<dyn Output> {
    options["address"] = json!(["127.0.0.1", port]);
    Setup::new("aviary.redis", options).build()
}

fn names(commands: &[Command]) -> Vec<&str> {
    commands.iter().map(|command| command[0].as_str()).collect()
}

/// The `event` field of each entry.
fn entries(commands: &[Command]) -> Vec<String> {
    commands
        .iter()
        .filter(|command| command[0] == "XADD")
        .map(|command| command.last().expect("a word").clone())
        .collect()
}

fn lines(seqs: impl IntoIterator<Item = u64>) -> Vec<String> {
    seqs.into_iter().map(|seq| event(seq).to_line(true)).collect()
}

#[tokio::test]
async fn logs_in_and_hands_a_batch_over_as_a_transaction() {
    let (port, told) = server(vec![Play::default()]);
    let mut output =
        output(port, json!({"user": "canary", "password": "s3cret", "database": 3, "maxlen": 9, "key": "k"}));
    deliver_all(&mut output, &events(1..=3)).await;
    deliver_all(&mut output, &events(4..=4)).await;
    drop(output);
    let commands = told.recv().expect("a connection");
    let expected = ["AUTH", "SELECT", "PING", "MULTI", "XADD", "XADD", "XADD", "EXEC", "XADD"];
    assert_eq!(names(&commands), expected);
    assert_eq!(
        (&commands[0][1..], &commands[1][1..]),
        (&["canary".to_owned(), "s3cret".to_owned()][..], &["3".to_owned()][..])
    );
    assert_eq!(commands[4][..6], ["XADD", "k", "MAXLEN", "~", "9", "*"]);
    assert_eq!(entries(&commands), lines(1..=4));
}

#[tokio::test]
async fn waits_for_what_the_server_says_can_be_mended_and_quotes_it() {
    let full = "-OOM command not allowed when used memory > 'maxmemory'.";
    let (port, told) = server(vec![
        play(&[("PING", "-LOADING Redis is loading the dataset in memory")]),
        play(&[("XADD", full), ("EXEC", "-EXECABORT Transaction discarded because of previous errors.")]),
    ]);
    let mut output = output(port, json!({}));
    let batch = events(1..=2);
    for said in ["LOADING Redis is loading the dataset in memory", &full[1..]] {
        let (delivered, reason) = temporary(&mut output, &batch).await;
        assert_eq!((delivered, reason), (0, format!("redis at `127.0.0.1` port {port}: it said: {said}")));
    }
    // The connection stands, and so does the order.
    deliver_all(&mut output, &batch).await;
    drop(output);
    assert_eq!(names(&told.iter().next().expect("a connection")), ["PING"]);
    let commands = told.recv().expect("a connection");
    assert_eq!(commands.iter().filter(|command| command[0] == "EXEC").count(), 2);
    assert_eq!(entries(&commands), [lines(1..=2), lines(1..=2)].concat());
}

#[tokio::test]
async fn counts_one_by_one_where_transactions_are_not_allowed() {
    let (port, _told) = server(vec![play(&[
        ("PING", "-NOPERM this user has no permissions to run the 'ping' command"),
        ("MULTI", "-NOPERM this user has no permissions to run the 'multi' command"),
        ("XADD", "$3\r\n1-0"),
        ("XADD", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ])]);
    let mut output = output(port, json!({}));
    let (delivered, reason) = temporary(&mut output, &events(1..=3)).await;
    assert!(delivered == 1 && reason.contains("it said: WRONGTYPE Operation"), "{delivered} {reason}");
    deliver_all(&mut output, &events(2..=2)).await;
}

#[tokio::test]
async fn tells_no_secret_that_a_server_repeats() {
    let words = "-ERR unknown command 'AUTH', with args beginning with: 's3cret' ";
    let (port, _told) = server(vec![play(&[("AUTH", words)])]);
    let (_, reason) = temporary(&mut output(port, json!({"password": "s3cret"})), &events(1..=1)).await;
    assert!(reason.ends_with("with args beginning with: '***' "), "{reason}");
}

#[tokio::test]
async fn sends_again_what_a_broken_connection_left_open() {
    let dying = || Play { dies_at: Some("EXEC"), ..Play::default() };
    let (port, told) = server(vec![dying(), Play { dies_at: Some("PING"), ..Play::default() }, Play::default()]);
    let mut output = output(port, json!({}));
    let batch = events(1..=2);
    for _ in 0..2 {
        let (delivered, reason) = temporary(&mut output, &batch).await;
        assert_eq!(delivered, 0);
        assert!(reason.contains("it ended the connection") || reason.contains("the connection broke"), "{reason}");
    }
    deliver_all(&mut output, &batch).await;
    drop(output);
    assert_eq!(entries(&told.iter().last().expect("a connection")), lines(1..=2));
}

#[tokio::test]
async fn asks_an_idle_connection_whether_it_still_stands() {
    // It greets, and when it is asked again it has gone.
    let gone = Play { pings: Some(1), ..Play::default() };
    let (port, told) = server(vec![gone, Play::default()]);
    let mut output = output(port, json!({}));
    deliver_all(&mut output, &events(1..=1)).await;
    // Longer than a connection is believed to stand.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    deliver_all(&mut output, &events(2..=2)).await;
    drop(output);
    assert_eq!(names(&told.recv().expect("a connection")), ["PING", "XADD", "PING"]);
    assert_eq!(names(&told.recv().expect("a connection")), ["PING", "XADD"]);
}

#[tokio::test]
async fn refuses_what_is_longer_than_the_server_takes_and_goes_on() {
    let long = "-ERR Protocol error: invalid bulk length";
    let (port, told) = server(vec![
        play(&[("XADD", "+QUEUED"), ("XADD", long)]),
        play(&[("XADD", "$3\r\n1-0"), ("XADD", long)]),
        Play::default(),
    ]);
    let mut output = output(port, json!({"timeout": 1}));
    let batch = [event(1), event_with(2, Value::from("x".repeat(300))), event(3)];
    let Some(Err(failure)) = deliver(&mut output, &batch).await else { panic!("it cannot fit") };
    assert_eq!(failure.delivered, 1);
    let DeliveryError::Refused { reason } = &failure.error else { panic!("{}", failure.error) };
    assert!(reason.ends_with("it said: ERR Protocol error: invalid bulk length"), "{reason}");
    deliver_all(&mut output, &batch[2..]).await;
    drop(output);
    assert_eq!(entries(&told.iter().last().expect("a connection")), lines(3..=3));
}

#[tokio::test]
async fn stands_whatever_answers_it() {
    for (answer, words) in [
        ("HTTP/1.1 400 Bad Request", "it sent `HTTP/1.1 400 Bad Request`, which is no reply of Redis"),
        ("$999999999999", "it sent a string of 999999999999 bytes"),
        ("*4000000000", "it sent a list of 4000000000 replies"),
        ("*1\r\n*1\r\n:1", "it sent `*1`, which is no reply of Redis"),
    ] {
        let (port, _told) = server(vec![play(&[("PING", answer)])]);
        let (delivered, reason) = temporary(&mut output(port, json!({})), &events(1..=2)).await;
        assert!(delivered == 0 && reason.ends_with(words), "{reason}");
    }
    let (port, _told) = server(vec![Play { silent: true, ..Play::default() }]);
    let (_, reason) = temporary(&mut output(port, json!({"timeout": 0.2})), &events(1..=2)).await;
    assert!(reason.ends_with("no answer within 0.2 s"), "{reason}");
}
