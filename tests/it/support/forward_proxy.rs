//! An operator's own HTTP proxy: makes tunnels to one place, whatever it is asked for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use usertap::tasks::Tasks;

pub struct ForwardProxy {
    pub addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Whom it makes a tunnel for.
#[derive(Debug, Clone, Copy)]
pub enum Allows {
    /// Who shows this, as its header has it.
    Holder(&'static str),
    Nobody,
}

impl ForwardProxy {
    pub async fn start(allows: Allows, leads_to: SocketAddr, tasks: &Tasks) -> ForwardProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = ForwardProxy {
            addr: listener.local_addr().expect("an address"),
            asked: Arc::default(),
        };
        let (asked, each) = (proxy.asked.clone(), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                each.spawn(tunnel(stream, allows, leads_to, asked.clone()));
            }
        });
        proxy
    }

    /// The first line of each request.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

async fn tunnel(mut stream: TcpStream, allows: Allows, leads_to: SocketAddr, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).expect("a head");
    let first = head.lines().next().unwrap_or_default();
    asked.lock().expect("no panic").push(first.to_owned());
    let answer = match allows {
        Allows::Nobody => "HTTP/1.1 403 Forbidden\r\n\r\n",
        Allows::Holder(shown) if head.contains(&format!("Proxy-Authorization: {shown}\r\n")) => {
            "HTTP/1.1 200 Connection established\r\n\r\n"
        }
        Allows::Holder(_) => "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
    };
    if stream.write_all(answer.as_bytes()).await.is_err() || !answer.contains(" 200 ") {
        return;
    }
    let Ok(mut there) = TcpStream::connect(leads_to).await else {
        return;
    };
    let _ended = copy_bidirectional(&mut stream, &mut there).await;
}
