//! A way to the database that a test can close, slow down or let fall silent: as if the server were
//! away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use usertap::tasks::Tasks;

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Whatever passes takes so long.
    Slow(Duration),
    /// Every one breaks, and none is made.
    Closed,
    /// They stay and carry nothing.
    Silent,
    /// Those before this number stay and carry nothing; new ones pass.
    Anew(u64),
    /// What passes stops on its way, new connections too, and goes on later.
    Frozen,
}

impl Way {
    fn passes(self, connection: u64) -> bool {
        match self {
            Way::Closed | Way::Silent => false,
            Way::Anew(first) => connection >= first,
            Way::Open | Way::Slow(_) | Way::Frozen => true,
        }
    }

    /// What is silent does not come to an end.
    fn leaves_silent(self) -> bool {
        matches!(self, Way::Silent | Way::Anew(_))
    }
}

pub struct Relay {
    pub addr: SocketAddr,
    way: watch::Sender<Way>,
    port: Arc<AtomicU16>,
    /// Connections so far.
    made: Arc<AtomicU64>,
    tasks: Tasks,
}

impl Relay {
    /// Closed at first.
    pub async fn to(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let relay = Relay {
            addr: listener.local_addr().expect("an address"),
            way: watch::Sender::new(Way::Closed),
            port: Arc::new(AtomicU16::new(port)),
            made: Arc::default(),
            tasks: Tasks::default(),
        };
        relay.tasks.spawn(accept(
            listener,
            relay.port.clone(),
            relay.made.clone(),
            relay.way.subscribe(),
            relay.tasks.clone(),
        ));
        relay
    }

    pub fn open(&self) {
        self.way.send_replace(Way::Open);
    }

    /// Connections made from now on come out there.
    pub fn leads_to(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// Every connection breaks, and none is made.
    pub fn close(&self) {
        self.way.send_replace(Way::Closed);
    }

    /// Every connection stays and carries nothing; they break when the way is opened or closed.
    pub fn silence(&self) {
        self.way.send_replace(Way::Silent);
    }

    /// Every connection that there is stays and carries nothing, as where a firewall has forgotten it; new
    /// ones pass.
    pub fn forget(&self) {
        let first = self.made.load(Ordering::Acquire);
        self.way.send_replace(Way::Anew(first));
    }

    /// Every connection stays and carries nothing until the way is open again, as if the server stood still.
    pub fn freeze(&self) {
        self.way.send_replace(Way::Frozen);
    }

    /// Each piece of every connection takes so long.
    pub fn slow(&self, each: Duration) {
        self.way.send_replace(Way::Slow(each));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

async fn accept(
    listener: TcpListener,
    port: Arc<AtomicU16>,
    made: Arc<AtomicU64>,
    way: watch::Receiver<Way>,
    tasks: Tasks,
) {
    loop {
        let (from, _) = tokio::select! {
            accepted = listener.accept() => accepted.expect("a connection"),
            () = tasks.stopping() => return,
        };
        let (way, ends) = (way.clone(), tasks.clone());
        let port = port.load(Ordering::Relaxed);
        let number = made.fetch_add(1, Ordering::AcqRel);
        tasks.spawn(async move {
            tokio::select! {
                () = pass(from, number, port, way) => {}
                () = ends.stopping() => {}
            }
        });
    }
}

async fn pass(from: TcpStream, number: u64, port: u16, mut way: watch::Receiver<Way>) {
    let thawed = way.wait_for(|way| *way != Way::Frozen).await;
    let now = thawed.map_or(Way::Closed, |way| *way);
    if now.passes(number) {
        let Ok(to) = TcpStream::connect(("127.0.0.1", port)).await else {
            return;
        };
        let (mut from_reads, mut from_writes) = from.into_split();
        let (mut to_reads, mut to_writes) = to.into_split();
        let ended = tokio::select! {
            () = pump(&mut from_reads, &mut to_writes, way.clone()) => true,
            () = pump(&mut to_reads, &mut from_writes, way.clone()) => true,
            _ = way.wait_for(|way| !way.passes(number)) => false,
        };
        if !ended {
            // The sockets stay open until the way is something else again.
            let _ = way.wait_for(|way| !way.leaves_silent()).await;
        }
    } else if now.leaves_silent() {
        let _ = way.wait_for(|way| !way.leaves_silent()).await;
    }
}

/// Until one side ends.
async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut way: watch::Receiver<Way>,
) {
    let mut piece = vec![0; 16 << 10];
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else {
            return;
        };
        let thawed = way.wait_for(|way| *way != Way::Frozen).await;
        let now = thawed.map_or(Way::Closed, |way| *way);
        if let Way::Slow(each) = now {
            tokio::time::sleep(each).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
