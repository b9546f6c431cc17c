//! A wire to Postgres that a test can take away and give back.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use usertap::tasks::Tasks;

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
}
