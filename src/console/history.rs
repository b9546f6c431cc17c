//! The last minutes, one sample every two seconds: what a curve says better than a number.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use maud::{Markup, html};
use tokio::time::{MissedTickBehavior, interval};

use super::Console;
use crate::clock::{self, Instant};
use crate::upstream::Given;

const EVERY: Duration = Duration::from_secs(2);
/// Ten minutes.
const KEPT: usize = 300;
/// Points of a curve: each is the mean of what lies between.
const POINTS: usize = 60;
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 48.0;

/// Counters at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    requests: u64,
    hits: u64,
    reads: u64,
    app: u64,
    own: u64,
}

#[derive(Debug, Default)]
pub struct History {
    samples: Mutex<VecDeque<Sample>>,
}

/// A curve and what it shows at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Oldest first; nothing where there was nothing to measure.
    pub points: Vec<Option<f64>>,
}

impl History {
    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn take(&self, sample: Sample) {
        let mut samples = self.samples();
        while samples.len() >= KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Requests of apps a second.
    pub fn requests(&self) -> Curve {
        self.curve(|from, to| rate(from, to, to.requests - from.requests))
    }

    /// Of the reads that could have been hits, those that were.
    pub fn hit_share(&self) -> Curve {
        self.curve(|from, to| {
            let reads = to.reads - from.reads;
            (reads > 0).then(|| (to.hits - from.hits) as f64 / reads as f64)
        })
    }

    /// Requests to the provider a second, for apps and usertap's own.
    pub fn budget(&self) -> (Curve, Curve) {
        let app = self.curve(|from, to| rate(from, to, to.app - from.app));
        (app, self.curve(|from, to| rate(from, to, to.own - from.own)))
    }

    fn curve(&self, between: impl Fn(&Sample, &Sample) -> Option<f64>) -> Curve {
        let samples: Vec<Sample> = self.samples().iter().copied().collect();
        let step = KEPT / POINTS;
        // From the end, so that a point does not change when the next sample comes.
        let mut points: Vec<Option<f64>> = samples
            .rchunks(step)
            .zip(samples.rchunks(step).map(Some).skip(1).chain([None]))
            .filter_map(|(later, earlier)| {
                let from = earlier.and_then(|earlier| earlier.last()).or(later.first())?;
                let to = later.last()?;
                (from.at < to.at).then(|| between(from, to))
            })
            .collect();
        points.reverse();
        Curve { points }
    }
}

fn rate(from: &Sample, to: &Sample, more: u64) -> Option<f64> {
    let seconds = to.at.saturating_duration_since(from.at).as_secs_f64();
    (seconds > 0.0).then(|| more as f64 / seconds)
}

/// Takes samples, without an end.
pub async fn watch(console: Console) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        console.history.take(now(&console));
    }
}

fn now(console: &Console) -> Sample {
    let (traffic, cache) = (console.traffic.snapshot(), console.station.cache.figures());
    let Given {
        app,
        stranger,
        refetch,
        backfill,
    } = console.station.upstream.given();
    Sample {
        at: clock::now(),
        requests: traffic.forwarded + traffic.own + traffic.failed + cache.hits + cache.stale,
        hits: cache.hits,
        reads: cache.hits + cache.misses,
        app: app + stranger,
        own: refetch + backfill,
    }
}

impl Curve {
    pub fn last(&self) -> Option<f64> {
        self.points.iter().rev().find_map(|point| *point)
    }

    pub fn most(&self) -> f64 {
        self.points.iter().flatten().copied().fold(0.0, f64::max)
    }

    /// Points of a line in the picture's own measures, stretches without a value left out.
    fn lines(&self, ceiling: f64) -> Vec<Vec<(f64, f64)>> {
        let step = WIDTH / (POINTS - 1) as f64;
        let from = WIDTH - step * (self.points.len().saturating_sub(1)) as f64;
        let placed = self.points.iter().enumerate().map(|(at, value)| {
            let up = value.map(|value| (value / ceiling).clamp(0.0, 1.0) * (HEIGHT - 4.0));
            up.map(|up| (from + step * at as f64, HEIGHT - 2.0 - up))
        });
        let placed: Vec<Option<(f64, f64)>> = placed.collect();
        let stretches = placed
            .split(Option::is_none)
            .map(|stretch| stretch.iter().flatten().copied().collect());
        stretches.filter(|stretch: &Vec<_>| !stretch.is_empty()).collect()
    }
}

/// One or more curves in one picture, the first one filled; `says` is the same in words.
pub fn picture(curves: &[&Curve], ceiling: Option<f64>, says: &str) -> Markup {
    let most = curves.iter().map(|curve| curve.most()).fold(0.0, f64::max);
    let ceiling = ceiling.unwrap_or(most * 1.15).max(f64::MIN_POSITIVE);
    html! {
        svg.curve viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(says) {
            title { (says) }
            line.base x1="0" x2=(WIDTH) y1=(HEIGHT - 1.0) y2=(HEIGHT - 1.0) {}
            @for (at, curve) in curves.iter().enumerate() {
                @for line in curve.lines(ceiling) {
                    @if at == 0 && line.len() > 1 { polygon.under points=(area(&line)) {} }
                    polyline class={ "line l" (at) } points=(spelled(&line)) {}
                }
            }
        }
    }
}

fn spelled(line: &[(f64, f64)]) -> String {
    // A single point would draw nothing.
    let single = line
        .first()
        .filter(|_| line.len() == 1)
        .map(|(x, y)| (x - 4.0, *y));
    let points = single.iter().chain(line).map(|(x, y)| format!("{x:.1},{y:.1}"));
    points.collect::<Vec<_>>().join(" ")
}

fn area(line: &[(f64, f64)]) -> String {
    let ends = line.first().zip(line.last());
    let (from, to) = ends.map_or((0.0, 0.0), |(first, last)| (first.0, last.0));
    format!("{from:.1},{HEIGHT} {} {to:.1},{HEIGHT}", spelled(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(requests: &[u64]) -> History {
        let (history, began) = (History::default(), clock::now());
        for (at, requests) in (0_u32..).zip(requests) {
            history.take(Sample {
                at: began + EVERY * at,
                requests: *requests,
                hits: requests / 2,
                reads: *requests,
                app: *requests,
                own: 0,
            });
        }
        history
    }

    #[test]
    fn a_curve_is_the_rate_between_samples() {
        assert!(sampled(&[]).requests().points.is_empty());
        assert!(
            sampled(&[5]).requests().points.is_empty(),
            "one sample has no rate"
        );
        let steady: Vec<u64> = (0..40).map(|at| at * 20).collect();
        let curve = sampled(&steady).requests();
        assert!(curve.points.iter().all(|point| *point == Some(10.0)), "{curve:?}");
        assert_eq!(sampled(&steady).hit_share().last(), Some(0.5));
        assert_eq!(sampled(&[7; 40]).hit_share().last(), None, "nothing was read");
    }

    #[test]
    fn no_more_than_ten_minutes_are_kept() {
        let history = sampled(&(0..1_000).collect::<Vec<u64>>());
        assert_eq!(history.samples().len(), KEPT);
        assert!(history.requests().points.len() <= POINTS);
    }

    #[test]
    fn what_was_not_measured_is_a_gap() {
        let curve = Curve {
            points: vec![Some(1.0), None, Some(2.0), Some(0.0)],
        };
        let lines = curve.lines(2.0);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        assert!(
            picture(&[&curve], None, "a & b")
                .into_string()
                .contains("a &amp; b")
        );
    }
}
