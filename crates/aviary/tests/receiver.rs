//! A receiver of webhooks that does what the test says: answer, refuse, hang, not be there.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Status(u16),
    Hang,
    /// Half an answer, then the end.
    Lie,
}

pub(crate) struct Receiver {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    manner: Mutex<Manner>,
    bodies: Mutex<Vec<String>>,
    end: AtomicBool,
}

impl Receiver {
    pub(crate) fn on(port: u16, manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let shared =
            Arc::new(Shared { manner: Mutex::new(manner), bodies: Mutex::default(), end: AtomicBool::new(false) });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_thread.end.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || drop(answer(stream, &shared)));
            }
        });
        Self { port, shared }
    }

    pub(crate) fn set(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// Lines of the events that it took, in order.
    pub(crate) fn events(&self) -> Vec<Value> {
        let bodies = self.shared.bodies.lock().unwrap();
        bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
    }

    /// The handler that sends here.
    pub(crate) fn handler(port: u16) -> Value {
        json!({
            "class": "opencanary.logger.WebhookHandler",
            "url": format!("http://127.0.0.1:{port}/"),
            "method": "POST",
            "data": "%(message)s",
            "timeout": 1,
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
        // Wakes the thread.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn answer(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim_end().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let manner = *shared.manner.lock().unwrap();
        match manner {
            Manner::Status(status) => {
                if status < 300 {
                    shared.bodies.lock().unwrap().push(String::from_utf8(body).unwrap());
                }
                stream.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
            }
            Manner::Hang => {
                // Until the canary gives up.
                let _ = reader.read(&mut [0])?;
                return Ok(());
            }
            Manner::Lie => return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Len"),
        }
    }
}
