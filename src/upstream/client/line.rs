//! A connection that speaks HTTP/1.1: one request at a time.
//!
//! It has no task: whoever waits for the answer moves it on, and then whoever reads the answer's
//! body. That saves each request the way to another task and back (`benches/side_by_side`). Only a
//! request's own body is seen off by a task once its answer has begun: it may still be on its way, and
//! must not wait for the answer's reader. What must never be: a line that is given back while anything
//! of an exchange is still under way.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;

use super::super::RequestBody;
use super::connect::Io;
use super::pool::Pool;

pub(super) struct Line {
    sender: http1::SendRequest<RequestBody>,
    connection: http1::Connection<Io, RequestBody>,
}

impl Line {
    pub fn new(
        sender: http1::SendRequest<RequestBody>,
        connection: http1::Connection<Io, RequestBody>,
    ) -> Line {
        Line { sender, connection }
    }

    /// Sends a request over it. The request comes back where nothing of it was sent.
    pub async fn exchange(
        mut self: Box<Line>,
        request: Request<RequestBody>,
        pool: &Arc<Pool>,
    ) -> Result<Response<AnswerBody>, Option<Request<RequestBody>>> {
        let is_bare = request.body().is_end_stream();
        let mut answer = pin!(self.sender.try_send_request(request));
        let mut lent = Some(Lent {
            line: self,
            pool: pool.clone(),
        });
        let answered = std::future::poll_fn(|context| {
            move_on(&mut lent, context);
            answer.as_mut().poll(context)
        });
        match answered.await {
            Ok(answer) if is_bare => Ok(answer.map(|body| AnswerBody::of(body, lent))),
            Ok(answer) => {
                lent.into_iter().for_each(Lent::see_off);
                Ok(answer.map(AnswerBody::undriven))
            }
            Err(mut failed) => Err(failed.take_message()),
        }
    }

    /// Whether it is open and nothing is under way.
    pub fn is_free(&mut self) -> bool {
        // Whoever moved it last is not to be woken for it any more.
        let mut nobody = Context::from_waker(Waker::noop());
        self.settle(&mut nobody) == Poll::Ready(true)
    }

    /// Ready once nothing is under way any more: true where it is open.
    fn settle(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        match self.move_on(context) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending if self.sender.is_ready() => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ready once it has ended.
    fn move_on(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // What fails is told to whoever waits for the answer or reads its body.
        Pin::new(&mut self.connection).poll(context).map(|_told| ())
    }
}

/// A line, and where it is to go back to.
struct Lent {
    line: Box<Line>,
    pool: Arc<Pool>,
}

impl Lent {
    /// Moves it on in a task until nothing is under way.
    fn see_off(mut self) {
        TokioExecutor::new().execute(async move {
            if std::future::poll_fn(|context| self.line.settle(context)).await {
                self.pool.give_back(self.line);
            }
        });
    }
}

fn move_on(lent: &mut Option<Lent>, context: &mut Context<'_>) {
    let ended = lent
        .as_mut()
        .is_some_and(|lent| lent.line.move_on(context).is_ready());
    if ended {
        *lent = None;
    }
}

/// The body of an answer, which moves on the connection that it comes by.
pub struct AnswerBody {
    body: Incoming,
    lent: Option<Lent>,
}

impl AnswerBody {
    /// Its connection has a task.
    pub(super) fn undriven(body: Incoming) -> AnswerBody {
        AnswerBody { body, lent: None }
    }

    fn of(body: Incoming, lent: Option<Lent>) -> AnswerBody {
        let mut body = AnswerBody { body, lent };
        if body.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some(Lent { mut line, pool }) = self.lent.take()
            && line.is_free()
        {
            pool.give_back(line);
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
        let mut polled = Pin::new(&mut this.body).poll_frame(context);
        if polled.is_pending() && this.lent.is_some() {
            move_on(&mut this.lent, context);
            polled = Pin::new(&mut this.body).poll_frame(context);
        }
        if matches!(polled, Poll::Ready(None)) || polled.is_ready() && this.body.is_end_stream() {
            this.give_back();
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
