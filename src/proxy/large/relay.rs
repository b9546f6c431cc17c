//! Passes a body on frame by frame, the last data frame and the trailers held back until the tap
//! is done with all of it.

use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use crate::proxy::body::{Body, BodyError, Cut, PARTING};

/// Sees what passes.
pub(super) trait Tap {
    /// Called with the data of each frame before it leaves.
    async fn take(&mut self, data: &Bytes);
    /// Called before the last frame leaves; `whole` unless the body broke off.
    async fn end(&mut self, whole: bool);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    Broken,
    /// The app left, or took nothing for too long.
    AppGone,
}

type Frames = Sender<Result<Frame<Bytes>, BodyError>>;

/// Relays all of `body`. `alone` goes on without the app, for what must be recorded all the same.
pub(super) async fn relay(
    mut body: Body,
    app: Frames,
    tap: &mut impl Tap,
    idle: Duration,
    alone: bool,
) -> End {
    let mut app = Some(app);
    let mut last = None;
    let mut trailers = None;
    let broken = loop {
        let frame = match body.frame().await {
            None => break false,
            Some(Err(_)) => break true,
            Some(Ok(frame)) => frame,
        };
        let Some(data) = frame.data_ref() else {
            trailers = Some(frame);
            continue;
        };
        tap.take(data).await;
        if let Some(earlier) = last.replace(frame) {
            app = deliver(app, Ok(earlier), idle).await;
        }
        if app.is_none() && !alone {
            break true;
        }
    };
    tap.end(!broken).await;
    let broke = (broken && app.is_some()).then(|| Err(Cut::Broken.into()));
    for frame in last.map(Ok).into_iter().chain(trailers.map(Ok)) {
        app = deliver(app, frame, idle).await;
    }
    if let Some(broke) = broke {
        tokio::time::sleep(PARTING).await;
        app = deliver(app, broke, idle).await;
    }
    match (app, broken) {
        (None, _) => End::AppGone,
        (Some(_), true) => End::Broken,
        (Some(_), false) => End::Whole,
    }
}

/// Gives a frame to the app; nothing comes back of an app that is gone or stopped reading.
async fn deliver(
    app: Option<Frames>,
    frame: Result<Frame<Bytes>, BodyError>,
    idle: Duration,
) -> Option<Frames> {
    let app = app?;
    let delivered = timeout(idle, app.send(frame))
        .await
        .is_ok_and(|sent| sent.is_ok());
    delivered.then_some(app)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::StreamBody;
    use tokio::sync::mpsc::{self, Receiver};

    use super::*;

    const IDLE: Duration = Duration::from_secs(8);

    /// Notes what it saw, and how much had left when the end came.
    struct Notes {
        seen: Vec<u8>,
        left: Option<usize>,
        app: Receiver<Result<Frame<Bytes>, BodyError>>,
    }

    impl Tap for Notes {
        async fn take(&mut self, data: &Bytes) {
            self.seen.extend_from_slice(data);
        }

        async fn end(&mut self, _whole: bool) {
            self.left = Some(self.app.len());
        }
    }

    fn body(frames: Vec<Result<Frame<Bytes>, BodyError>>) -> Body {
        StreamBody::new(futures_util::stream::iter(frames)).boxed()
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, BodyError> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    async fn relayed(frames: Vec<Result<Frame<Bytes>, BodyError>>) -> (End, Notes) {
        let (app, received) = mpsc::channel(16);
        let mut notes = Notes {
            seen: Vec::new(),
            left: None,
            app: received,
        };
        let end = relay(body(frames), app, &mut notes, IDLE, false).await;
        (end, notes)
    }

    #[tokio::test]
    async fn the_last_bytes_and_trailers_wait_for_the_tap() {
        let trailers = Ok(Frame::trailers(HeaderMap::new()));
        let (end, mut notes) = relayed(vec![data("a"), data("b"), data("c"), trailers]).await;
        assert_eq!(
            (end, notes.seen.as_slice(), notes.left),
            (End::Whole, &b"abc"[..], Some(2))
        );
        let mut got = Vec::new();
        while let Some(frame) = notes.app.recv().await {
            got.push(frame.unwrap().into_data().unwrap_or_default());
        }
        assert_eq!(got, ["a", "b", "c", ""]);
    }

    #[tokio::test]
    async fn what_broke_off_breaks_off_for_the_app_too() {
        let (end, mut notes) = relayed(vec![data("a"), Err(Cut::Idle.into())]).await;
        assert_eq!((end, notes.left), (End::Broken, Some(0)));
        assert!(notes.app.recv().await.unwrap().is_ok());
        assert!(notes.app.recv().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn without_the_app_only_a_write_goes_on() {
        for (alone, seen) in [(false, &b"abc"[..2]), (true, &b"abc"[..])] {
            let (app, received) = mpsc::channel(16);
            drop(received);
            let mut notes = Notes {
                seen: Vec::new(),
                left: None,
                app: mpsc::channel(1).1,
            };
            let end = relay(
                body(vec![data("a"), data("b"), data("c")]),
                app,
                &mut notes,
                IDLE,
                alone,
            )
            .await;
            assert_eq!((end, notes.seen.as_slice()), (End::AppGone, seen));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_reads_nothing_is_let_go() {
        let (app, _received) = mpsc::channel(1);
        let mut notes = Notes {
            seen: Vec::new(),
            left: None,
            app: mpsc::channel(1).1,
        };
        let end = relay(
            body(vec![data("a"), data("b"), data("c")]),
            app,
            &mut notes,
            IDLE,
            false,
        )
        .await;
        assert_eq!(end, End::AppGone);
    }
}
