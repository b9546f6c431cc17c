<<<<<<< HEAD
//! A wire to Postgres that a test can take away and give back.

use std::net::SocketAddr;
=======
//! A way to the database that a test can close: as if the server were away.

use std::net::SocketAddr;
use std::sync::Arc;
>>>>>>> main

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use usertap::tasks::Tasks;

<<<<<<< HEAD
/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Carries,
    /// Breaks what is connected and refuses what comes.
    Refuses,
    /// Keeps what is connected and carries nothing.
    Swallows,
}

/// Ends with the tasks it was started on.
pub struct Relay {
    pub address: SocketAddr,
    wire: watch::Sender<Wire>,
}

impl Relay {
    pub async fn start(target: SocketAddr, tasks: &Tasks) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let wire = watch::Sender::new(Wire::Carries);
        tasks.spawn(accept(listener, target, wire.subscribe(), tasks.clone()));
        Relay { address, wire }
    }

    pub fn refuse(&self) {
        self.wire.send_replace(Wire::Refuses);
    }

    pub fn swallow(&self) {
        self.wire.send_replace(Wire::Swallows);
    }

    pub fn mend(&self) {
        self.wire.send_replace(Wire::Carries);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, wire: watch::Receiver<Wire>, tasks: Tasks) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted.expect("a connection"),
            () = tasks.stopping() => return,
        };
        let (wire, ends) = (wire.clone(), tasks.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = carry(accepted.0, target, wire) => {}
                () = ends.stopping() => {}
            }
        });
    }
}

async fn carry(mut near: TcpStream, target: SocketAddr, mut wire: watch::Receiver<Wire>) {
    let now = *wire.borrow_and_update();
    if now == Wire::Carries {
        let Ok(mut far) = TcpStream::connect(target).await else {
            return;
        };
        tokio::select! {
            _ended = copy_bidirectional(&mut near, &mut far) => return,
            _changed = wire.changed() => {}
        }
    }
    // Its sockets stay open until the wire does something else again.
    let _mended = wire.wait_for(|wire| *wire != Wire::Swallows).await;
=======
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
>>>>>>> main
}
