//! How each service is touched: the least that an intruder would do, carrying the drill's mark.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// How long a touch waits for the service to speak before it goes on.
const TURN: Duration = Duration::from_millis(400);

/// Touches a service of this machine and gives the port that it was touched from; `announce` hears of it before.
pub(crate) async fn knock(
    service: &str,
    address: &str,
    port: u16,
    mark: &str,
    announce: impl FnOnce(SocketAddr),
) -> io::Result<u16> {
    let to: IpAddr = address.parse().map_err(io::Error::other)?;
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // From the address that is touched: it is this machine's.
    socket.bind(SocketAddr::new(to, 0))?;
    let source = socket.local_addr()?;
    announce(source);
    let source = source.port();
    let mut stream = socket.connect(SocketAddr::new(to, port)).await?;
    if service == "https" {
        let (address, mark) = (address.to_owned(), mark.to_owned());
        let stream = stream.into_std()?;
        let secured = tokio::task::spawn_blocking(move || over_tls(stream, &address, &mark)).await;
        secured.map_err(io::Error::other)??;
        return Ok(source);
    }
    for words in script(service, mark) {
        listen(&mut stream).await?;
        stream.write_all(&words).await?;
    }
    listen(&mut stream).await?;
    Ok(source)
}

/// Touches a service over UDP with a datagram that none of them understands, which must be reported as well.
pub(crate) async fn datagram(
    address: &str,
    port: u16,
    mark: &str,
    announce: impl FnOnce(SocketAddr),
) -> io::Result<u16> {
    let socket = UdpSocket::bind((if address.contains(':') { "::" } else { "0.0.0.0" }, 0)).await?;
    socket.connect((address, port)).await?;
    announce(socket.local_addr()?);
    socket.send(mark.as_bytes()).await?;
    Ok(socket.local_addr()?.port())
}

/// What is sent, turn by turn.
fn script(service: &str, mark: &str) -> Vec<Vec<u8>> {
    let lines = |lines: &[String]| lines.iter().map(|line| line.clone().into_bytes()).collect();
    match service {
        "ftp" => lines(&[format!("USER {mark}\r\n"), format!("PASS {mark}\r\n")]),
        "http" => vec![form(mark)],
        "ssh" => lines(&[format!("SSH-2.0-{mark}\r\n")]),
        "telnet" => lines(&[format!("{mark}\r\n"), format!("{mark}\r\n")]),
        "redis" => lines(&[format!("AUTH {mark}\r\n")]),
        "git" => {
            let request = format!("git-upload-pack /{mark}.git\0host=drill\0");
            vec![format!("{:04x}{request}", request.len() + 4).into_bytes()]
        }
        "rdp" => {
            let cookie = format!("Cookie: mstshash={mark}\r\n");
            let length = u8::try_from(cookie.len()).unwrap_or(0);
            let fixed = [3, 0, 0, length.saturating_add(11), length.saturating_add(6), 0xe0, 0, 0, 0, 0, 0];
            vec![[&fixed, cookie.as_bytes()].concat()]
        }
        // A service without a script of its own is touched by a line; that must be reported too.
        _ => lines(&[format!("{mark}\r\n")]),
    }
}

fn form(mark: &str) -> Vec<u8> {
    let body = format!("username={mark}&password={mark}");
    format!(
        "POST /index.html HTTP/1.1\r\nHost: drill\r\nUser-Agent: {mark}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn listen(stream: &mut TcpStream) -> io::Result<()> {
    let mut heard = [0; 4096];
    match tokio::time::timeout(TURN, stream.read(&mut heard)).await {
        // A service that waits for the peer to begin is no fault.
        Err(_) | Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error),
    }
}

fn over_tls(stream: std::net::TcpStream, address: &str, mark: &str) -> io::Result<()> {
    use std::io::{Read as _, Write as _};
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(address.to_owned()).map_err(io::Error::other)?;
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = stream;
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    tls.write_all(&form(mark))?;
    let mut heard = [0; 4096];
    match tls.read(&mut heard) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes any certificate: the drill asks whether a touch is reported, not whom it reached.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
