//! Durations, sizes and rates.

use std::time::Duration;

use super::Parsed;
use crate::config::{Limit, Rate};

/// `8s`, `250ms`, `5m`, `24h`, `30d`; `0` needs no unit.
pub fn duration(text: &str) -> Parsed<Duration> {
    at_most(LONGEST, unbounded(text)?, "36500d")
}

/// What no number holds is the longest that one does.
fn unbounded(text: &str) -> Parsed<Duration> {
    number_and_unit(text, |unit| match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    })
    .map(Duration::from_millis)
    .ok_or_else(|| {
        "is no duration: write a whole number and a unit, such as `250ms`, `8s`, `5m`, `24h` or `30d`"
            .to_owned()
    })
}

/// A hundred years, far from the overflow of any clock.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);
/// Somebody waits for it.
const HOUR: Duration = Duration::from_secs(3600);

/// A duration that somebody waits for: above zero, at most an hour.
pub fn wait(text: &str) -> Parsed<Duration> {
    match unbounded(text)? {
        Duration::ZERO => Err("must be more than nothing, such as `2s`".to_owned()),
        wait => at_most(HOUR, wait, "1h"),
    }
}

/// How long something is kept: at least a second, so that there is something to read.
pub fn retention(text: &str) -> Parsed<Duration> {
    let keep = duration(text)?;
    match keep >= Duration::from_secs(1) {
        true => Ok(keep),
        false => Err("is too short: write at least `1s`, such as `7d`".to_owned()),
    }
}

/// How often something is done; `off` for never. At least a second.
pub fn every(text: &str) -> Parsed<Option<Duration>> {
    match text.trim() {
        "off" => Ok(None),
        text => match duration(text)? {
            every if every >= Duration::from_secs(1) => Ok(Some(every)),
            _ => Err("is too short: write `off`, or at least `1s`, such as `6h`".to_owned()),
        },
    }
}

/// Like [`wait`], but nothing is allowed too.
pub fn wait_or_none(text: &str) -> Parsed<Duration> {
    at_most(HOUR, unbounded(text)?, "1h")
}

fn at_most(longest: Duration, written: Duration, such: &str) -> Parsed<Duration> {
    match written <= longest {
        true => Ok(written),
        false => Err(format!("is too long: write at most `{such}`")),
    }
}

/// Bytes: `4MiB`, `64KiB`, `1GiB`, `100B`.
pub fn size(text: &str) -> Parsed<usize> {
    number_and_unit(text, |unit| match unit {
        "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    })
    .and_then(|bytes| usize::try_from(bytes).ok())
    .ok_or_else(|| "is no size: write a whole number and a unit, such as `64KiB` or `4MiB`".to_owned())
}

/// A size between 1 KiB and the 256 MiB that all recorded answers share.
pub fn record_buffer(text: &str) -> Parsed<usize> {
    let bytes = size(text)?;
    match (1 << 10..=256 << 20).contains(&bytes) {
        true => Ok(bytes),
        false => Err("is out of range: write something between `1KiB` and `256MiB`".to_owned()),
    }
}

/// A size between the 1 MiB that is worth it and the 64 GiB that nobody means.
pub fn cache_size(text: &str) -> Parsed<usize> {
    let bytes = size(text)?;
    match (1 << 20..=64 << 30).contains(&bytes) {
        true => Ok(bytes),
        false => Err("is out of range: write something between `1MiB` and `64GiB`".to_owned()),
    }
}

/// A number too large for any setting counts as the largest there is, so that its bound refuses it.
fn number_and_unit(text: &str, factor: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let number: u64 = match number {
        "" => return None,
        digits => digits.parse().unwrap_or(u64::MAX),
    };
    match (number, unit.trim()) {
        (0, "") => Some(0),
        (number, unit) => Some(number.saturating_mul(factor(unit)?)),
    }
}

/// `1000/10s`, several separated by commas; `reads=` or `writes=` before one that counts only those.
pub fn limits(text: &str) -> Parsed<Vec<Limit>> {
    text.split(',').map(|one| Limit::read(one, rate)).collect()
}

/// `1000/10s`.
pub fn rate(text: &str) -> Parsed<Rate> {
    let parts = text.trim().split_once('/');
    let rate = parts.and_then(|(requests, per)| {
        let requests = requests.trim().parse().ok().filter(|n| *n > 0)?;
        let per = duration(per).ok().filter(|per| !per.is_zero())?;
        Some(Rate { requests, per })
    });
    rate.ok_or_else(|| "is no rate: write requests and a period, such as `1000/10s`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Use;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn durations() {
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("8s").unwrap(), secs(8));
        assert_eq!(duration("5m").unwrap(), secs(300));
        assert_eq!(duration("30d").unwrap(), secs(30 * 86_400));
        assert_eq!(duration("0").unwrap(), Duration::ZERO);
        for wrong in [
            "",
            "8",
            "8 parsecs",
            "-1s",
            "1.5s",
            "s",
            "99999999999999999999d",
            "9999999999d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for (text, longest) in [("99999999d", "36500d"), ("99999999999999999999s", "36500d")] {
            for (wrong, longest) in [
                (duration(text), longest),
                (wait(text), "1h"),
                (wait_or_none(text), "1h"),
            ] {
                assert_eq!(
                    wrong.unwrap_err(),
                    format!("is too long: write at most `{longest}`"),
                    "{text}"
                );
            }
        }
        assert!(wait("0").is_err() && wait("2h").is_err() && wait_or_none("0").is_ok());
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64KiB").unwrap(), 65_536);
        assert_eq!(record_buffer("4MiB").unwrap(), 4 << 20);
        for wrong in ["", "4", "4MB", "1B", "1GiB", "99999999999999GiB"] {
            assert!(record_buffer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_may_be_several_and_count_only_some() {
        let per = |requests, per, of| Limit {
            rate: Rate { requests, per },
            of,
        };
        assert_eq!(
            limits("1000/10s, writes=50/1s,reads=9/1m").unwrap(),
            [
                per(1000, secs(10), None),
                per(50, secs(1), Some(Use::Write)),
                per(9, secs(60), Some(Use::Read))
            ]
        );
        for wrong in [
            "", "0/1s", "10", "10/0s", "10/s", "10/1s,", "x/1s", "all=1/1s", "reads=", "writes=1",
        ] {
            assert!(limits(wrong).is_err(), "{wrong}");
        }
    }
}
