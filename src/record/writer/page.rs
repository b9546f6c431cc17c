//! Pages of a walk take turns: see [`super::super::pages`].

use super::super::pages::Turn;
use super::flight::Flight;
use super::{Failure, Writer};

impl Writer {
    pub(super) async fn may_write(&self, flight: &Flight) -> Result<(), Failure> {
        match flight.page {
            Some(page) => in_turn(self.shared.pages.may_write(page).await),
            None => Ok(()),
        }
    }

    /// All rows of the page are written.
    pub(super) async fn may_end(&self, flight: &Flight) -> Result<(), Failure> {
        match flight.page {
            Some(page) => {
                self.shared.pages.written(page);
                in_turn(self.shared.pages.may_end(page).await)
            }
            None => Ok(()),
        }
    }

    pub(super) fn begins_anew(&self, flight: &Flight) {
        if let Some(page) = flight.page {
            self.shared.pages.anew(page);
        }
    }
}

fn in_turn(turn: Turn) -> Result<(), Failure> {
    match turn {
        Turn::Go => Ok(()),
        Turn::Anew => Err(Failure::Overtaken),
        Turn::Over => Err(Failure::Over),
    }
}
