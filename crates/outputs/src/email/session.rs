//! The conversation with a mail server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aviary_output::DeliveryError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::oauth::Tokens;
use super::secure::{Secure, start_tls};
use crate::tls::{Tls, Trust};
use crate::worker::temporary;

/// A connection is kept so long for the next mail, and then ended in good form.
const KEPT: Duration = Duration::from_secs(5);

/// Longest wait for the server's good-bye.
const GOODBYE: Duration = Duration::from_secs(2);

/// When a connection becomes TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    None,
    StartTls,
    Tls,
}

/// Who we are to the server.
pub(super) enum Login {
    Nobody,
    Password { credentials: Credentials, mechanisms: Vec<Mechanism> },
    Token { user: String, tokens: Tokens },
}

impl Login {
    /// A user with a password, by the mechanism named or by one that the server has.
    pub(super) fn password(user: &str, password: &str, auth: Option<&str>) -> Self {
        let mechanisms = match auth {
            Some("plain") => vec![Mechanism::Plain],
            Some("login") => vec![Mechanism::Login],
            _ => vec![Mechanism::Plain, Mechanism::Login],
        };
        Self::Password { credentials: Credentials::new(user.to_owned(), password.to_owned()), mechanisms }
    }
}

/// The way to a mail server.
pub(super) struct Post {
    host: String,
    port: u16,
    security: Security,
    tls: Tls,
    login: Login,
    /// Longest time for one step.
    step: Duration,
    kept: Arc<Mutex<Option<AsyncSmtpConnection>>>,
    /// Ends the kept connection when no mail follows.
    closing: JoinSet<()>,
    /// Whether it was said that a recipient is left out.
    told: AtomicBool,
}

impl Post {
    pub(super) fn new(host: String, port: u16, security: Security, trust: Trust, login: Login, step: Duration) -> Self {
        let (kept, closing) = (Arc::default(), JoinSet::new());
        Self { host, port, security, tls: Tls::new(trust), login, step, kept, closing, told: AtomicBool::new(false) }
    }

    pub(super) const fn step(&self) -> Duration {
        self.step
    }

    /// Hands a mail over for those who do not have it yet, and notes who has it then.
    pub(super) async fn send(
        &mut self,
        from: &Address,
        to: &[Address],
        taken: &mut [bool],
        text: &[u8],
    ) -> Result<(), DeliveryError> {
        self.closing.shutdown().await;
        let kept = self.kept.lock().await.take();
        let mut connection = match self.still_good(kept).await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let result = self.transact(&mut connection, from, to, taken, text).await;
        if result.is_ok() && !connection.has_broken() {
            *self.kept.lock().await = Some(connection);
            let kept = Arc::clone(&self.kept);
            self.closing.spawn(async move {
                sleep(KEPT).await;
                if let Some(mut connection) = kept.lock().await.take() {
                    let _ = timeout(GOODBYE, connection.quit()).await;
                }
            });
        } else {
            let _ = timeout(GOODBYE, connection.quit()).await;
        }
        result
    }

    /// Gives a connection back on which the server still answers.
    async fn still_good(&self, kept: Option<AsyncSmtpConnection>) -> Option<AsyncSmtpConnection> {
        let mut connection = kept?;
        let answers = timeout(self.step, connection.test_connected()).await;
        matches!(answers, Ok(true)).then_some(connection)
    }

    async fn transact(
        &self,
        connection: &mut AsyncSmtpConnection,
        from: &Address,
        to: &[Address],
        taken: &mut [bool],
        text: &[u8],
    ) -> Result<(), DeliveryError> {
        let mail = Mail::new(Some(from.clone()), Vec::new());
        self.step_of(connection.command(mail)).await.map_err(|no| self.later("the sender", &no))?;
        let mut accepted = Vec::new();
        let mut later = None;
        let mut never = None;
        for (place, address) in to.iter().enumerate() {
            if taken.get(place).copied().unwrap_or(true) {
                continue;
            }
            match self.step_of(connection.command(Rcpt::new(address.clone(), Vec::new()))).await {
                Ok(_) => accepted.push(place),
                Err(no) if no.permanent => never = Some(self.later(&format!("`{address}`"), &no)),
                Err(no) if no.answered => later = Some(self.later(&format!("`{address}`"), &no)),
                Err(no) => return Err(self.later(&format!("`{address}`"), &no)),
            }
        }
        if accepted.is_empty() {
            let had = taken.contains(&true);
            return match (later, never) {
                (Some(later), _) => Err(later),
                // The others have it.
                (None, Some(never)) if had => {
                    self.tell(&never);
                    Ok(())
                }
                (None, Some(never)) => Err(never),
                (None, None) => Ok(()),
            };
        }
        self.step_of(connection.command(Data)).await.map_err(|no| self.verdict(&no))?;
        self.step_of(connection.message(text)).await.map_err(|no| self.verdict(&no))?;
        for place in accepted {
            if let Some(taken) = taken.get_mut(place) {
                *taken = true;
            }
        }
        match (later, never) {
            (Some(later), _) => Err(later),
            (None, Some(never)) => {
                self.tell(&never);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    /// Says, once, that one of several recipients is left out.
    fn tell(&self, refusal: &DeliveryError) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!("a recipient gets no mails, the others do: {refusal}");
        }
    }

    /// One step of the conversation within its time.
    async fn step_of<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, No> {
        match timeout(self.step, step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(No::from(&error)),
            Err(_) => Err(No::without_answer(self.silence())),
        }
    }

    /// What may be mended, on our side or the server's.
    fn later(&self, what: &str, no: &No) -> DeliveryError {
        temporary(format!("mail server `{}` port {}: {what}: {}", self.host, self.port, no.text))
    }

    /// What the server says to the mail itself.
    fn verdict(&self, no: &No) -> DeliveryError {
        if no.permanent {
            return DeliveryError::Refused { reason: no.text.clone() };
        }
        self.later("the mail", no)
    }

    async fn connect(&mut self) -> Result<AsyncSmtpConnection, DeliveryError> {
        let secure = match self.security {
            Security::None => None,
            Security::StartTls | Security::Tls => Some(self.tls.connector(&self.host).await.map_err(temporary)?),
        };
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let hello = name.filter(|name| name.is_ascii()).map_or_else(ClientId::default, ClientId::Domain);
        let address = (self.host.as_str(), self.port);
        let connected = self.io("cannot connect", TcpStream::connect(address)).await?;
        let stream: Box<dyn AsyncTokioStream> = match secure {
            None => Box::new(connected),
            Some((connector, name)) if self.security == Security::Tls => {
                Box::new(Secure::new(self.io("TLS", connector.connect(name, connected)).await?))
            }
            Some((connector, name)) => {
                let mut stream = connected;
                let agreed = timeout(self.step, start_tls(&mut stream, &hello.to_string())).await;
                let agreed = agreed.unwrap_or_else(|_| Err(self.silence()));
                agreed.map_err(|reason| self.later("STARTTLS", &No::without_answer(reason)))?;
                Box::new(Secure::greeted(self.io("TLS", connector.connect(name, stream)).await?))
            }
        };
        let greeting = AsyncSmtpConnection::connect_with_transport(stream, &hello);
        let mut connection = self.step_of(greeting).await.map_err(|no| self.later("cannot connect", &no))?;
        self.log_in(&mut connection).await?;
        Ok(connection)
    }

    /// A step before the conversation.
    async fn io<T>(&self, what: &str, step: impl Future<Output = io::Result<T>>) -> Result<T, DeliveryError> {
        let done = timeout(self.step, step).await.map_err(|_| self.silence());
        let done = done.and_then(|done| done.map_err(|error| error.to_string()));
        done.map_err(|reason| self.later(what, &No::without_answer(reason)))
    }

    fn silence(&self) -> String {
        format!("no answer within {} s", self.step.as_secs_f32())
    }

    async fn log_in(&mut self, connection: &mut AsyncSmtpConnection) -> Result<(), DeliveryError> {
        let (user, token) = match &mut self.login {
            Login::Nobody => return Ok(()),
            Login::Password { .. } => (String::new(), None),
            Login::Token { user, tokens } => (user.clone(), Some(tokens.token().await?)),
        };
        let result = match (&self.login, token) {
            (Login::Password { credentials, mechanisms }, _) => {
                self.step_of(connection.auth(mechanisms, credentials)).await.map(drop)
            }
            (_, Some(token)) => self.present(connection, &user, &token).await,
            _ => Ok(()),
        };
        result.map_err(|no| {
            if let Login::Token { tokens, .. } = &mut self.login {
                tokens.forget();
            }
            self.later("cannot log in", &no)
        })
    }

    /// XOAUTH2. A refusal comes in two pieces: a challenge that says why, and after an empty line the end.
    async fn present(&self, connection: &mut AsyncSmtpConnection, user: &str, token: &str) -> Result<(), No> {
        let proof = STANDARD.encode(format!("user={user}\u{1}auth=Bearer {token}\u{1}\u{1}"));
        let answer = self.step_of(connection.command(format!("AUTH XOAUTH2 {proof}\r\n"))).await?;
        if !answer.has_code(334) {
            return Ok(());
        }
        let challenge = answer.first_word().and_then(|word| STANDARD.decode(word).ok()).unwrap_or_default();
        let mut no = match self.step_of(connection.command("\r\n")).await {
            Ok(_) => No { text: "it asked for more than XOAUTH2 has".to_owned(), answered: true, permanent: false },
            Err(no) => no,
        };
        let why = String::from_utf8_lossy(&challenge);
        if !why.trim().is_empty() {
            no.text = format!("{} ({})", no.text, why.trim());
        }
        Err(no)
    }
}

/// Why a step failed.
struct No {
    /// In the server's own words where it has any.
    text: String,
    /// Whether the server answered at all, so that the conversation may go on.
    answered: bool,
    permanent: bool,
}

impl No {
    const fn without_answer(text: String) -> Self {
        Self { text, answered: false, permanent: false }
    }
}

impl From<&Error> for No {
    fn from(error: &Error) -> Self {
        let words = std::error::Error::source(error).map(|source| innermost(source).to_string());
        let text = match (error.status(), words) {
            (Some(code), Some(words)) => format!("it answered {code}: {}", words.trim()),
            (Some(code), None) => format!("it answered {code}"),
            (None, Some(words)) => words,
            (None, None) => error.to_string(),
        };
        Self { text, answered: error.status().is_some(), permanent: error.is_permanent() }
    }
}

/// The last of the causes is the one that people can act on.
fn innermost<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
