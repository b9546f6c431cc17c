//! How a listing goes on: offsets, page numbers, cursors and links are one thing to a backfill.

use http::{HeaderMap, HeaderName, Method, StatusCode};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::errors::Codes;
use super::extract::{Extraction, Listed, raw_items};
use super::pointer::Pointer;
use super::template::Template;
use super::{OwnRequest, Proof, Provider, Tenant};
use crate::user::{UserId, json};

mod ask;
mod link;
mod look;
mod page;
mod window;

pub(super) use ask::Params;
pub use look::{Footing, Look};
pub use page::{Next, Page, PageFault};
pub(super) use window::Window;
use window::Within;

/// Where the next page starts. Opaque to everyone but this module; kept as text in the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cursor {
    /// Offset, page number, token, or the query of a link: never a host or a path.
    pub at: String,
}

/// One request of a walk.
#[derive(Debug, Clone)]
pub struct PageRequest {
    pub request: OwnRequest,
}

/// The listing of all users.
#[derive(Debug)]
pub(super) struct List {
    /// By GET, or by POST with a body.
    pub method: Method,
    pub path: String,
    pub at: Pointer,
    pub item: Pointer,
    pub empty_has: Vec<Pointer>,
    pub proof: Proof,
    pub query: Params,
    /// Left out for a server that does not know them.
    pub optional: Params,
    /// In the place of those of the same name: the newest users first.
    pub newest: Option<Params>,
    pub unknown_parameter: Option<Codes>,
    pub paging: Paging,
    pub total: Option<Total>,
}

#[derive(Debug)]
pub(super) enum Paging {
    Offset {
        param: String,
    },
    Page {
        param: String,
        first: u64,
        /// Answers by which the provider says that there is no such page.
        behind_last: Vec<Codes>,
    },
    Cursor {
        param: String,
        next: NextAt,
        inclusive: bool,
        /// What the parameter holds, round the cursor.
        text: Template,
        /// A cursor can be made of a user's id.
        is_id: bool,
        /// Answers by which the provider says that it does not know the place any more.
        lost: Vec<Codes>,
    },
    Link {
        lost: Vec<Codes>,
    },
    Window(Window),
}

#[derive(Debug)]
pub(super) enum NextAt {
    Body(Pointer),
    LastItem(Pointer),
}

#[derive(Debug)]
pub(super) enum Total {
    Header(HeaderName),
    Body(Pointer),
    /// A request of its own.
    Path(String, Pointer),
}

/// A list may stand beside it.
pub(super) const FAILURE_INSIDE: PageFault = PageFault::Shape {
    what: "it came as a success, and its body says that it is none",
};

impl Provider {
    /// The request for the page at `cursor` (the first where there is none). `plain` leaves out
    /// the parameters that the descriptor calls optional.
    pub fn page_request(&self, tenant: &Tenant, cursor: Option<&Cursor>, plain: bool) -> PageRequest {
        self.page_ordered(tenant, &self.list, cursor, plain, &[])
    }

    /// The same with the newest users first; nothing where the descriptor has no way to say so.
    pub fn newest_request(
        &self,
        tenant: &Tenant,
        cursor: Option<&Cursor>,
        plain: bool,
    ) -> Option<PageRequest> {
        let newest = self.list.newest.as_ref()?;
        Some(self.page_ordered(tenant, &self.list, cursor, plain, newest))
    }

    pub(super) fn page_ordered(
        &self,
        tenant: &Tenant,
        list: &List,
        cursor: Option<&Cursor>,
        plain: bool,
        instead: &[(String, Value)],
    ) -> PageRequest {
        let asked = list.asked(cursor, plain, instead);
        let mut request = self.own_request(tenant, &asked.target);
        if list.method == Method::POST {
            request.asks(&asked.body);
        }
        PageRequest { request }
    }

    /// Reads the answer to [`Provider::page_request`].
    pub fn page(
        &self,
        tenant: &Tenant,
        cursor: Option<&Cursor>,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Page, PageFault> {
        self.page_of(tenant, &self.list, cursor, status, headers, body)
    }

    pub(super) fn page_of(
        &self,
        tenant: &Tenant,
        list: &List,
        cursor: Option<&Cursor>,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Page, PageFault> {
        match (self.refuse_failure(list, status, headers, body), cursor) {
            (Err(PageFault::Status { status }), Some(_)) => {
                let next = self.instead_of_page(list, status, headers, body);
                return next.map(Page::without_users).ok_or(PageFault::Status { status });
            }
            (refused, _) => refused?,
        }
        let mut read = Extraction::default();
        let listed = Listed {
            tenant,
            item: &list.item,
            empty_has: &list.empty_has,
            proof: list.proof,
            unsettled: false,
            again: false,
        };
        if !self.told_list(&listed, &list.at, body, &mut read) {
            return Err(no_list(body));
        }
        let fetched = read.sightings.len() + read.malformed;
        let total = list.total(headers, body);
        let window = list.window(cursor);
        // Of a window: who was met last may be gone, and nobody behind.
        let total_of_all = total.filter(|total| window.is_none() && list.counts_beyond(*total));
        if fetched == 0 && total_of_all == Some(0) && cursor.is_some() {
            return Err(PageFault::Shape {
                what: "it says that there is nobody, after pages of users",
            });
        }
        if fetched == 0 && window == Some(Within::Begins) && total.is_some_and(|total| total > 0) {
            return Err(PageFault::Shape {
                what: "it is empty, and says that it is not",
            });
        }
        let path = self.filled(tenant, &list.path);
        let next = list.next(tenant, &path, cursor, fetched, headers, body)?;
        Ok(Page {
            sightings: read.sightings,
            fetched,
            malformed: read.malformed,
            unread: read.unread,
            next,
            total: total_of_all,
        })
    }

    /// A cursor at a user seen before, where the provider's cursors are ids; for walking around a
    /// lost one.
    pub fn cursor_at(&self, id: &UserId) -> Option<Cursor> {
        let is_id = matches!(&self.list.paging, Paging::Cursor { is_id: true, .. });
        is_id.then(|| Cursor { at: id.to_string() })
    }

    /// What a refused page means where the provider says so: its place is not known any more, or lies behind the last.
    fn instead_of_page(
        &self,
        list: &List,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<Next> {
        let (answers, next) = match &list.paging {
            Paging::Cursor { lost, .. } | Paging::Link { lost } => (lost, Next::Lost),
            Paging::Page { behind_last, .. } => (behind_last, Next::End),
            _ => return None,
        };
        if answers.iter().all(|rule| rule.status != status) {
            return None;
        }
        let code = self.errors.code(headers, body);
        let says_so = answers.iter().any(|rule| rule.fits(status, code.as_deref()));
        says_so.then_some(next)
    }

    fn refuse_failure(
        &self,
        list: &List,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), PageFault> {
        let status = self.effective_status(status, headers);
        if status.is_success() {
            return match self.errors.is_failure_inside(body) {
                true => Err(FAILURE_INSIDE),
                false => Ok(()),
            };
        }
        let code = self.errors.code(headers, body);
        let unknown = list
            .unknown_parameter
            .as_ref()
            .filter(|_| !list.optional.is_empty());
        match unknown.is_some_and(|rule| rule.fits(status, code.as_deref())) {
            true => Err(PageFault::UnknownParameter),
            false => Err(PageFault::Status { status }),
        }
    }
}

impl List {
    fn next(
        &self,
        tenant: &Tenant,
        path: &str,
        cursor: Option<&Cursor>,
        fetched: usize,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Next, PageFault> {
        let at = match &self.paging {
            // A page may be shorter than was asked for, so only an empty one is the end, which names no other.
            _ if fetched == 0 && !self.names_the_next() => return Ok(self.empty_page(cursor)),
            Paging::Offset { .. } => Some(number_at(cursor, 0)?.saturating_add(fetched as u64).to_string()),
            Paging::Page { first, .. } => Some(number_at(cursor, *first)?.saturating_add(1).to_string()),
            Paging::Cursor { next, .. } => self.next_token(next, body)?,
            Paging::Link { .. } => link::next(tenant, path, headers)?,
            Paging::Window(window) => {
                Some(window.next(cursor, fetched, last_item(body, &self.at).as_ref())?)
            }
        };
        let next = at.map(|at| Cursor { at });
        match next {
            Some(next) if cursor == Some(&next) && fetched == 0 => Ok(Next::End),
            Some(next) if cursor == Some(&next) => Err(PageFault::Shape {
                what: "the next page is this one",
            }),
            next => Ok(next.map_or(Next::End, Next::More)),
        }
    }

    /// Each page says itself whether another follows.
    fn names_the_next(&self) -> bool {
        match &self.paging {
            Paging::Link { .. } => true,
            Paging::Cursor { next, inclusive, .. } => matches!(next, NextAt::Body(_)) && !inclusive,
            Paging::Offset { .. } | Paging::Page { .. } | Paging::Window(_) => false,
        }
    }

    /// An inclusive cursor's page holds at least that user, or the user is gone.
    fn empty_page(&self, cursor: Option<&Cursor>) -> Next {
        let inclusive = matches!(self.paging, Paging::Cursor { inclusive: true, .. });
        if inclusive && cursor.is_some() {
            Next::Lost
        } else {
            Next::End
        }
    }

    fn next_token(&self, next: &NextAt, body: &[u8]) -> Result<Option<String>, PageFault> {
        let token = match next {
            NextAt::Body(at) => raw_value(body, at),
            NextAt::LastItem(at) => last_item(body, &self.at).and_then(|item| at.find(&item).cloned()),
        };
        match (token, next) {
            (Some(Value::String(token)), _) => Ok(Some(token).filter(|token| !token.is_empty())),
            (Some(Value::Number(token)), _) => Ok(Some(token.to_string())),
            (None | Some(Value::Null), NextAt::Body(_)) => Ok(None),
            _ => Err(PageFault::Shape {
                what: "the next page's cursor is not a text",
            }),
        }
    }

    fn window(&self, cursor: Option<&Cursor>) -> Option<Within> {
        match &self.paging {
            Paging::Window(window) => window.within(cursor?),
            _ => None,
        }
    }

    /// Where a list shows no more than so many, neither does it count more.
    fn counts_beyond(&self, total: u64) -> bool {
        match &self.paging {
            Paging::Window(window) => total < window.most,
            _ => true,
        }
    }

    fn total(&self, headers: &HeaderMap, body: &[u8]) -> Option<u64> {
        match self.total.as_ref()? {
            Total::Header(name) => headers.get(name)?.to_str().ok()?.trim().parse().ok(),
            Total::Body(at) => super::own::number(body, at),
            Total::Path(..) => None,
        }
    }
}

/// Why there is none to be found in it.
fn no_list(body: &[u8]) -> PageFault {
    if let Err(broken) = std::str::from_utf8(body) {
        let at = broken.valid_up_to();
        return PageFault::Text { at };
    }
    let json = json::text(body).and_then(|text| serde_json::from_str::<IgnoredAny>(text).ok());
    let what = match json {
        None => "it is no JSON at all",
        Some(_) => "there is no list where it should stand",
    };
    PageFault::Shape { what }
}

pub(super) fn raw_value(body: &[u8], at: &Pointer) -> Option<Value> {
    json::read(at.raw(json::text(body)?)?)
}

fn last_item(body: &[u8], list: &Pointer) -> Option<Value> {
    let items = raw_items(list.raw(json::text(body)?)?)?;
    json::read(items.last()?.get())
}

fn number_at(cursor: Option<&Cursor>, first: u64) -> Result<u64, PageFault> {
    let at = cursor.map_or(Ok(first), |cursor| cursor.at.parse());
    at.map_err(|_| PageFault::Shape {
        what: "the stored place in the listing is not a number",
    })
}
