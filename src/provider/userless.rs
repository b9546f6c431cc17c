//! Requests that are of no interest here: they change no user, and no answer of theirs tells of one.
//!
//! What must never be: a request that writes and is of no interest because nobody has thought of it. So a
//! method that writes is of none only where the file spells it out.

use http::Method;

use super::Provider;

impl Provider {
    /// Whether a request on no route is known to be of no interest, below a served prefix or not. What
    /// browsers ask before a request of another origin never is, nor is the head alone of what a route reads.
    pub fn is_userless(&self, method: &Method, path: &str) -> bool {
        if *method == Method::OPTIONS || (*method == Method::HEAD && self.reads(path)) {
            return true;
        }
        self.is_among(&self.userless, method, path)
    }

    fn reads(&self, path: &str) -> bool {
        let read = self.route(&Method::GET, path);
        read.is_some_and(|matched| !matched.route.writes)
    }
}
