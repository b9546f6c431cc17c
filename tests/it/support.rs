//! What every test needs: a database of its own, waiting with a deadline.

#![expect(
    clippy::disallowed_methods,
    reason = "tests read the clock to give every wait a deadline"
)]

pub mod forward_proxy;
pub mod http;
pub mod lines;
pub mod postgres;
pub mod process;
pub mod relay;
pub mod served;
pub mod shapes;
pub mod stack;
pub mod standby;

use std::fmt::Debug;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Waits until `condition` gives something; fails the test when it does not.
pub async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_or(what, async || condition().await.ok_or("nothing")).await
}

/// The same for a condition that tells, as its error, what is there instead.
pub async fn eventually_or<T, E: Debug>(what: &str, mut condition: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match condition().await {
            Ok(found) => return found,
            Err(instead) => assert!(
                Instant::now() < deadline,
                "not within 30 s: {what}; instead {instead:?}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// For a program that takes no socket. Below those that a kernel gives to whoever asks for any: nobody else gets it
/// before the program has it, or while it is started anew.
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(31);
    let ports = std::iter::repeat_with(|| {
        let at = begin.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed));
        PORTS.start + (at % PORTS.len() as u32) as u16
    });
    let mut free = ports
        .take(PORTS.len())
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a port")
}

pub fn now() -> Instant {
    Instant::now()
}

pub fn wall() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
