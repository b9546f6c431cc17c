//! A connection that speaks HTTP/1.1: one request at a time.
//!
//! It has no task: whoever waits for the answer moves it on, and then whoever reads the answer's
//! body. That saves each request the way to another task and back (`benches/side_by_side`). Only a
//! request's own body is seen off by a task once its answer has begun: it may still be on its way, and
//! must not wait for the answer's reader. What must never be: a line that is given back while anything
//! of an exchange is still under way; a task that is woken by a line that it does not move on.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::task::coop::unconstrained;

use super::super::{RequestBody, Sending};
use super::outgoing::{HasLeft, Outgoing};
use super::pool::Pool;

pub(super) struct Line {
    sender: http1::SendRequest<RequestBody>,
    connection: http1::Connection<Outgoing, RequestBody>,
    has_left: HasLeft,
    mover: Arc<Mover>,
    wakes_mover: Waker,
}

/// The task that moved a line on last and waits for it; none while it does.
#[derive(Default)]
struct Mover(AtomicWaker);

impl Wake for Mover {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake();
    }
}

impl Line {
    pub fn new(
        sender: http1::SendRequest<RequestBody>,
        connection: http1::Connection<Outgoing, RequestBody>,
        has_left: HasLeft,
    ) -> Line {
        let mover = Arc::<Mover>::default();
        Line {
            sender,
            connection,
            has_left,
            wakes_mover: mover.clone().into(),
            mover,
        }
    }

    /// Sends a request over it. The request comes back where nothing of it was sent.
    pub async fn exchange(
        mut self: Box<Line>,
        request: Sending,
        pool: &Arc<Pool>,
    ) -> Result<Response<AnswerBody>, Option<Request<RequestBody>>> {
        let is_bare = request.body().is_end_stream();
        // Beside the task's turn: at the end of one it would ask to be woken again, and nobody is.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(*request)));
        let mut line = Some(self);
        let answered = std::future::poll_fn(|context| {
            move_on(&mut line, context);
            answer.as_mut().poll(&mut only_moved_on())
        });
        match answered.await {
            Ok(answer) if is_bare => Ok(answer.map(|body| AnswerBody::of(body, line, pool))),
            Ok(answer) => {
                line.into_iter().for_each(|line| line.see_off(pool));
                Ok(answer.map(AnswerBody::undriven))
            }
            Err(mut failed) => Err(failed.take_message()),
        }
    }

    /// Moves it on in a task until nothing is under way.
    fn see_off(mut self: Box<Self>, pool: &Arc<Pool>) {
        let to = pool.clone();
        pool.tasks().spawn(async move {
            if std::future::poll_fn(|context| self.settle(context)).await {
                to.give_back(self);
            }
        });
    }

    /// Whether it is open and nothing is under way.
    pub fn is_free(&mut self) -> bool {
        // What has come of an answer that nobody reads is read away, and nobody is woken for more of it.
        let mut nobody = Context::from_waker(Waker::noop());
        self.has_settled() || self.settle(&mut nobody) == Poll::Ready(true)
    }

    /// Wakes nobody until it is moved on again.
    pub fn rest(&self) {
        self.mover.0.take();
    }

    fn has_settled(&self) -> bool {
        self.sender.is_ready() && self.has_left.all()
    }

    /// Ready once nothing is under way any more: true where it is open.
    fn settle(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let mut moved = self.move_on(context);
        if moved.is_pending() && self.has_left.all() && !self.sender.is_ready() {
            // Where the last of a request has only now left, nothing would wake it for another look.
            moved = self.move_on(context);
        }
        match moved {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending if self.has_settled() => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ready once it has ended.
    fn move_on(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.mover.0.register(context.waker());
        let mut context = Context::from_waker(&self.wakes_mover);
        // What fails is told to whoever waits for the answer or reads its body.
        Pin::new(&mut self.connection).poll(&mut context).map(|_told| ())
    }
}

/// For what comes by a line alone: who has just moved it on, and is woken for more of it, need not be woken
/// for this as well.
fn only_moved_on() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn move_on(line: &mut Option<Box<Line>>, context: &mut Context<'_>) {
    if line.as_mut().is_some_and(|line| line.move_on(context).is_ready()) {
        *line = None;
    }
}

/// A line that goes back when it is dropped, if it is free then.
struct Lent {
    line: Option<Box<Line>>,
    pool: Arc<Pool>,
}

impl Lent {
    /// The next of the body that comes by it.
    fn frame(
        &mut self,
        body: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.line.iter().for_each(|line| line.rest());
        let frame = Pin::new(&mut *body).poll_frame(&mut only_moved_on());
        if frame.is_ready() {
            return frame;
        }
        move_on(&mut self.line, context);
        Pin::new(body).poll_frame(&mut only_moved_on())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(mut line) = self.line.take()
            && line.is_free()
        {
            self.pool.give_back(line);
        }
    }
}

/// The body of an answer, which moves on the connection that it comes by.
pub struct AnswerBody {
    /// Dropped first: of a body that nobody wants any more, what has come is read away then.
    body: Incoming,
    lent: Option<Lent>,
}

impl AnswerBody {
    /// Its connection has a task.
    pub(super) fn undriven(body: Incoming) -> AnswerBody {
        AnswerBody { body, lent: None }
    }

    fn of(body: Incoming, line: Option<Box<Line>>, pool: &Arc<Pool>) -> AnswerBody {
        let pool = pool.clone();
        let lent = Lent { line, pool };
        let has_more = !body.is_end_stream();
        AnswerBody {
            body,
            lent: has_more.then_some(lent),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = match &mut this.lent {
            None => Pin::new(&mut this.body).poll_frame(context),
            Some(lent) => lent.frame(&mut this.body, context),
        };
        if matches!(polled, Poll::Ready(None)) || polled.is_ready() && this.body.is_end_stream() {
            this.lent = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerBody").finish_non_exhaustive()
    }
}
