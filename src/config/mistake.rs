//! One mistake in the settings: which setting, where it was written, what is wrong, the remedy.
//!
//! What must never be: the text of a secret, or of anything that may hold one.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    File { path: PathBuf, line: usize },
    Env(String),
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line } => write!(f, "{}:{line}", path.display()),
            Place::Env(name) => write!(f, "{name} in the environment"),
            Place::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// Reported together with all the others; exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// As the table names it (`LISTEN`), or what was written in place of a name.
    pub setting: String,
    /// `None` where nothing was written.
    pub place: Option<Place>,
    /// What is wrong, and the remedy.
    pub text: String,
}

impl Mistake {
    pub fn new(setting: &str, place: Option<Place>, text: impl Into<String>) -> Mistake {
        Mistake {
            setting: setting.to_owned(),
            place,
            text: text.into(),
        }
    }

    /// Nothing was written where something must be.
    pub fn is_missing(&self) -> bool {
        self.place.is_none() && self.text.starts_with("is missing: set ")
    }

    /// Of one among several tenants.
    pub fn of_tenant(self, name: &str) -> Mistake {
        // What was written stands where it is said to stand.
        match self.place {
            Some(_) => self,
            None => Mistake {
                setting: format!("{} of tenant {name}", self.setting),
                ..self
            },
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{} ({place}): {}", self.setting, self.text),
            None => write!(f, "{}: {}", self.setting, self.text),
        }
    }
}

/// `value` as a message may show it: not where it could hold a password or is no line of text.
pub fn shown(value: &str, secret: bool) -> String {
    let opaque = secret
        || value.contains("://")
        || value.contains('@')
        || value.chars().any(char::is_control)
        || value.chars().count() > 60;
    match opaque {
        true => "this value".to_owned(),
        false => format!("`{value}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_and_the_place() {
        let place = Place::File {
            path: "usertap.toml".into(),
            line: 3,
        };
        let mistake = Mistake::new("LISTEN", Some(place), "is wrong");
        assert_eq!(mistake.to_string(), "LISTEN (usertap.toml:3): is wrong");
        assert_eq!(Mistake::new("LISTEN", None, "x").to_string(), "LISTEN: x");
    }

    #[test]
    fn shows_nothing_that_may_hold_a_password() {
        assert_eq!(shown("8 parsecs", false), "`8 parsecs`");
        for value in ["postgres://u:p@h", "u:p@h", "a\nb", &"x".repeat(61)] {
            assert_eq!(shown(value, false), "this value");
        }
        assert_eq!(shown("hush", true), "this value");
    }
}
