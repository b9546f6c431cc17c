//! A way to the database that a test can close: as if the server were away.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use usertap::tasks::Tasks;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Every one breaks, and none is made.
    Closed,
    /// They stay and carry nothing.
    Silent,
}

pub struct Relay {
    pub addr: SocketAddr,
    way: watch::Sender<Way>,
    tasks: Tasks,
}

impl Relay {
    /// Closed at first.
    pub async fn to(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let relay = Relay {
            addr: listener.local_addr().expect("an address"),
            way: watch::Sender::new(Way::Closed),
            tasks: Tasks::default(),
        };
        let accepting = accept(listener, port, relay.way.subscribe(), relay.tasks.clone());
        relay.tasks.spawn(accepting);
        relay
    }

    pub fn open(&self) {
        self.way.send_replace(Way::Open);
    }

    /// Every connection breaks, and none is made.
    pub fn close(&self) {
        self.way.send_replace(Way::Closed);
    }

    /// Every connection stays and carries nothing; they break when the way is opened or closed.
    pub fn silence(&self) {
        self.way.send_replace(Way::Silent);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

async fn accept(listener: TcpListener, port: u16, way: watch::Receiver<Way>, tasks: Tasks) {
    loop {
        let (from, _) = tokio::select! {
            accepted = listener.accept() => accepted.expect("a connection"),
            () = tasks.stopping() => return,
        };
        let (way, ends) = (way.clone(), tasks.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = pass(from, port, way) => {}
                () = ends.stopping() => {}
            }
        });
    }
}

async fn pass(mut from: TcpStream, port: u16, mut way: watch::Receiver<Way>) {
    let now = *way.borrow_and_update();
    if now == Way::Open {
        let Ok(mut to) = TcpStream::connect(("127.0.0.1", port)).await else {
            return;
        };
        tokio::select! {
            _ended = copy_bidirectional(&mut from, &mut to) => return,
            _closed = way.changed() => {}
        }
        // The sockets stay open until the way is something else again.
        let _ = way.wait_for(|way| *way != Way::Silent).await;
    } else if now == Way::Silent {
        let _ = way.wait_for(|way| *way != Way::Silent).await;
    }
}
