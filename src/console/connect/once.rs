//! A form that makes something is good once: a page that is loaded again makes nothing again.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// More forms than are open at any time.
const MOST: usize = 1_000;

/// Marks of forms that were sent.
#[derive(Debug, Default)]
pub struct Once(Mutex<VecDeque<String>>);

impl Once {
    /// A mark for a form.
    pub fn mark() -> String {
        uuid::Uuid::new_v4().simple().to_string()
    }

    /// Whether a form with this mark is sent for the first time.
    pub fn is_first(&self, mark: &str) -> bool {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uuid::Uuid::try_parse(mark).is_err() || sent.iter().any(|sent| sent == mark) {
            return false;
        }
        if sent.len() == MOST {
            sent.pop_front();
        }
        sent.push_back(mark.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_good_once_and_must_be_one() {
        let (once, mark) = (Once::default(), Once::mark());
        assert!(once.is_first(&mark) && !once.is_first(&mark));
        assert!(!once.is_first("") && once.is_first(&Once::mark()));
        for _ in 0..MOST * 2 {
            once.is_first(&Once::mark());
        }
        assert!(once.0.lock().unwrap().len() <= MOST);
    }
}
