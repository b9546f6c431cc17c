//! A TCP relay that counts what goes to the server behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use usertap::tasks::Tasks;

pub struct Relay {
    pub port: u16,
    sent: Arc<AtomicU64>,
}

impl Relay {
    pub async fn start(behind: SocketAddr, tasks: &Tasks) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let sent = Arc::new(AtomicU64::new(0));
        tasks.spawn(accept(listener, behind, sent.clone(), tasks.clone()));
        Relay { port, sent }
    }

    /// Bytes that have gone to the server so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, behind: SocketAddr, sent: Arc<AtomicU64>, tasks: Tasks) {
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(behind).await.expect("the server behind");
        for end in [&client, &server] {
            end.set_nodelay(true).expect("a socket");
        }
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let sent = sent.clone();
        tasks.spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                sent.fetch_add(read as u64, Ordering::Relaxed);
                if to_server.write_all(&buffer[..read]).await.is_err() {
                    break;
                }
            }
            // Tells the server that its client is gone.
            let _ = to_server.shutdown().await;
        });
        tasks.spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    }
}
