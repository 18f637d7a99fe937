//! A bare server: one task a connection, plain reads and writes, nothing recorded. It says the very
//! bytes that the canary says, which it asks the canary for when it starts.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::talk::{self, Talk, Until};

/// Serve the same bytes as a canary, and record nothing
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The service: ftp, http, redis, mysql, mssql or vnc
    service: String,
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// The canary's port, to learn the answers from
    #[arg(long)]
    like: SocketAddr,
}

/// Learns, prints `ready`, and serves until killed.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let talk = talk::named(&arguments.service)?;
    let answers = talk.play(arguments.like, 0).await.context("the canary did not answer")?;
    let answers = Arc::new(answers);
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("ready");
    // On the workers like everything else: accepting on the main thread would wake it for each attack.
    let mut acceptor = JoinSet::new();
    acceptor.spawn(async move {
        let mut tasks = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let answers = Arc::clone(&answers);
            tasks.spawn(async move { drop(serve(stream, talk, &answers).await) });
            while tasks.try_join_next().is_some() {}
        }
    });
    acceptor.join_next().await;
    Ok(())
}

async fn serve(mut stream: TcpStream, talk: &Talk, answers: &[Vec<u8>]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    for (turn, answer) in talk.turns.iter().zip(answers) {
        let mut have = 0;
        while have < turn.send.len() {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                n => have += n,
            }
        }
        stream.write_all(answer).await?;
        if turn.until == Until::Close {
            return stream.shutdown().await;
        }
    }
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
