//! A way to the database that a test can close: as if the server were away.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use usertap::tasks::Tasks;

pub struct Relay {
    pub addr: SocketAddr,
    open: Arc<watch::Sender<bool>>,
    tasks: Tasks,
}

impl Relay {
    /// Closed at first.
    pub async fn to(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let relay = Relay {
            addr: listener.local_addr().expect("an address"),
            open: Arc::new(watch::Sender::new(false)),
            tasks: Tasks::default(),
        };
        relay
            .tasks
            .spawn(accept(listener, port, relay.open.clone(), relay.tasks.clone()));
        relay
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Every connection breaks, and none is made.
    pub fn close(&self) {
        self.open.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

async fn accept(listener: TcpListener, port: u16, open: Arc<watch::Sender<bool>>, tasks: Tasks) {
    loop {
        let (from, _) = tokio::select! {
            accepted = listener.accept() => accepted.expect("a connection"),
            () = tasks.stopping() => return,
        };
        let mut is_open = open.subscribe();
        if *is_open.borrow_and_update() {
            tasks.spawn(async move {
                tokio::select! {
                    () = pass(from, port) => {}
                    _ = is_open.wait_for(|open| !open) => {}
                }
            });
        }
    }
}

async fn pass(mut from: TcpStream, port: u16) {
    if let Ok(mut to) = TcpStream::connect(("127.0.0.1", port)).await {
        let _ = copy_bidirectional(&mut from, &mut to).await;
    }
}
