//! Answers that are wrong on the wire: nothing of them is kept, and a known user is read all the
//! same.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use usertap::sandbox::Options;
use usertap::tasks::Tasks;

use super::Told;
use crate::support::stack::{Setup, Stack};

/// What becomes of the next answer to a request that has this in its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mangles {
    /// It promises more than it holds, and ends.
    LongerLength,
    /// It holds more than it promises.
    ShorterLength,
    /// A byte at a time, with pauses longer than anybody waits.
    Drips,
    /// It ends in the middle of its body.
    Resets,
    /// Its first line is none.
    NoHttp,
}

type Script = Arc<Mutex<Option<(String, Mangles)>>>;

/// Stands before the provider. One request for each connection.
async fn front(listener: TcpListener, provider: SocketAddr, script: Script, tasks: Tasks) {
    while let Ok((app, _)) = listener.accept().await {
        let script = script.clone();
        tasks.spawn(async move {
            // Whoever hangs up does so on purpose.
            let _gone = relay(app, provider, script).await;
        });
    }
}

async fn relay(mut app: TcpStream, provider: SocketAddr, script: Script) -> std::io::Result<()> {
    let request = request(&mut app).await?;
    let line =
        String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let mut answer = Vec::new();
    let mut to = TcpStream::connect(provider).await?;
    to.write_all(&request).await?;
    to.read_to_end(&mut answer).await?;
    let mangles = {
        let mut script = script.lock().expect("no panic");
        let fits = script
            .as_ref()
            .is_some_and(|(part, _)| line.contains(part.as_str()));
        script.take_if(|_| fits).map(|(_, mangles)| mangles)
    };
    write(&mut app, &answer, mangles).await
}

/// The whole request, told to be the last of its connection.
async fn request(app: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    let head = loop {
        if app.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
    };
    let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    while read.len() < head + 4 + length.unwrap_or(0) {
        if app.read_buf(&mut read).await? == 0 {
            break;
        }
    }
    read.splice(head..head, *b"\r\nconnection: close");
    Ok(read)
}

async fn write(app: &mut TcpStream, answer: &[u8], mangles: Option<Mangles>) -> std::io::Result<()> {
    let body = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map_or(0, |at| at + 4);
    let plain = |length: usize| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n")
    };
    let length = answer.len() - body;
    let (head, body) = (&answer[..body], &answer[body..]);
    match mangles {
        None => app.write_all(answer).await,
        Some(Mangles::NoHttp) => app.write_all(b"220 ready\r\n\r\n").await,
        Some(Mangles::Resets) => app.write_all(&answer[..head.len() + length / 2]).await,
        Some(Mangles::LongerLength) => {
            app.write_all(&[plain(length + 7).as_bytes(), body].concat())
                .await
        }
        Some(Mangles::ShorterLength) => {
            app.write_all(&[plain(length - 7).as_bytes(), body].concat())
                .await
        }
        Some(Mangles::Drips) => {
            app.write_all(plain(length).as_bytes()).await?;
            for byte in body {
                app.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
            Ok(())
        }
    }
}

async fn free() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    (listener, at)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_mangled_is_kept_or_recorded() {
    let (listener, at) = free().await;
    let provider = free().await.1;
    let (script, tasks) = (Script::default(), Tasks::default());
    tasks.spawn(front(listener, provider, script.clone(), tasks.clone()));
    let upstream: &'static str = format!("http://{at}").leak();
    let stack = Stack::with(Setup {
        sandbox: Options {
            listen: provider,
            ..Options::default()
        },
        settings: vec![
            ("USERTAP_UPSTREAM", upstream),
            ("USERTAP_CACHE_TTL", "1ms"),
            ("USERTAP_STALE_IF_ERROR", "1h"),
            ("USERTAP_TIMEOUT", "3s"),
        ],
        ..Setup::default()
    })
    .await;
    let ada = stack.known_user(json!({ "display_name": "Ada" })).await;
    let bob = stack.user(json!({ "display_name": "Bob" }));
    stack.unseen(bob);
    let server = stack.server(0);
    for mangles in [
        Mangles::LongerLength,
        Mangles::ShorterLength,
        Mangles::Drips,
        Mangles::Resets,
        Mangles::NoHttp,
    ] {
        for path in [
            format!("/users/{ada}"),
            format!("/users/{bob}"),
            "/users?limit=1".to_owned(),
        ] {
            if path.contains(&bob.to_string()) && mangles == Mangles::ShorterLength {
                // Cut short on purpose: whole as far as HTTP goes, and no JSON.
                continue;
            }
            // A read is sent once more where there was no answer.
            let target = path.split('?').next().expect("a path").to_owned();
            *script.lock().expect("no panic") = Some((target, mangles));
            let _broken = stack.send(&server, Method::GET, &path, String::new()).await;
            *script.lock().expect("no panic") = None;
            if path.contains(&bob.to_string()) && mangles != Mangles::NoHttp {
                assert!(stack.row(bob).await.is_none(), "{mangles:?}");
            }
            let ada = stack.get(&server, &format!("/users/{ada}")).await;
            assert_eq!(
                (ada.status.as_u16(), &ada.json()["display_name"]),
                (200, &json!("Ada")),
                "{mangles:?}"
            );
            assert!(
                !ada.cached().starts_with("stale"),
                "{mangles:?}: {}",
                ada.cached()
            );
        }
    }
    tasks.stop();
    stack.provider_is_gone();
    stack.end().await;
}
