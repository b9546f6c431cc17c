//! A server that gives the answers it was told to, byte for byte.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::tasks::Tasks;

/// What the server does with a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Says {
    /// These bytes; the connection stays.
    Bytes(&'static [u8]),
    /// These bytes and the end of the connection.
    Last(&'static [u8]),
    /// These bytes, and from then on whatever comes is sent back.
    Echo(&'static [u8]),
    Nothing,
}

/// A server with a list of answers, and the heads of the requests that it got.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub url: String,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    answers: Arc<Mutex<Vec<Says>>>,
}

impl Script {
    /// Gives the answers one after another, the last one for ever.
    pub async fn of(answers: &[Says]) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = Script {
            url: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
            connections: Arc::default(),
            open: Arc::default(),
            answers: Arc::new(Mutex::new(answers.iter().rev().copied().collect())),
        };
        let (tasks, serving) = (Tasks::default(), script.clone());
        tasks.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                serving.open.fetch_add(1, Ordering::Relaxed);
                let serving = serving.clone();
                tasks.spawn(async move {
                    serving.clone().connection(stream).await;
                    serving.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        script
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Those that neither side has closed.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn next(&self) -> Says {
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 {
            answers.pop().unwrap()
        } else {
            answers[0]
        }
    }

    async fn connection(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(head) = request_head(&mut stream).await {
            self.seen.lock().unwrap().push(head);
            match self.next() {
                Says::Bytes(bytes) => stream.write_all(bytes).await.unwrap(),
                Says::Last(bytes) => return stream.write_all(bytes).await.unwrap(),
                Says::Nothing => std::future::pending().await,
                Says::Echo(bytes) => {
                    stream.write_all(bytes).await.unwrap();
                    return echo(stream).await;
                }
            }
        }
    }
}

async fn echo(mut stream: BufReader<TcpStream>) {
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        stream.write_all(&piece[..length]).await.unwrap();
    }
}

async fn request_head(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}
