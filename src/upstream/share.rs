//! What part of the provider's limit each of several processes has. Pure.
//!
//! Each has a little at any time, so that none stands still until it is heard. Of the rest, what
//! apps ask for goes first, wherever they ask, then usertap's own requests; nobody gets more than
//! they can use while another lacks it, and what nobody needs is split evenly. A part is a lease: it
//! is given up here before anybody else takes it, so the parts are never more than the whole. What
//! must never be: two processes that both believe the same part theirs.

/// What a process could use of the whole limit, each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Wants {
    pub apps: f64,
    /// Re-reads and the backfill.
    pub own: f64,
}

/// A quarter of the limit is nobody's by need.
const KEPT: f64 = 0.25;
/// A part moves only by so much at least: until whoever gets it has heard of it, it is nobody's.
const STEP: f64 = 1.0 / 32.0;

/// The part of one among others that is just.
pub fn fair(mine: Wants, others: &[Wants]) -> f64 {
    let all: Vec<Wants> = std::iter::once(mine).chain(others.iter().copied()).collect();
    let each = KEPT / all.len() as f64;
    let mut pool = 1.0 - KEPT;
    let mut part = each;
    let apps: Vec<f64> = all.iter().map(|wants| (wants.apps - each).max(0.0)).collect();
    let lacking = all.iter().zip(&apps);
    let own: Vec<f64> = lacking
        .map(|(wants, apps)| (wants.apps + wants.own - each - apps).max(0.0))
        .collect();
    for needs in [apps, own] {
        let level = level(pool, &needs);
        part += needs[0].min(level);
        pool -= needs.iter().map(|need| need.min(level)).sum::<f64>();
    }
    part + pool.max(0.0) / all.len() as f64
}

/// What of a pool each may have at most, so that all of it is given to those who need it, and the
/// least is as much as can be.
fn level(pool: f64, needs: &[f64]) -> f64 {
    let mut needs = needs.to_vec();
    needs.sort_by(f64::total_cmp);
    let mut left = pool.max(0.0);
    for (met, need) in needs.iter().enumerate() {
        let each = left / (needs.len() - met) as f64;
        if *need >= each {
            return each;
        }
        left -= need;
    }
    f64::INFINITY
}

/// What to hold from now on: towards what is fair, of what others leave.
pub fn next(held: f64, fair: f64, of_others: f64) -> f64 {
    let free = (1.0 - of_others).max(0.0);
    let wanted = match (fair - held).abs() < STEP && held > 0.0 {
        true => held,
        false => fair,
    };
    wanted.min(free)
}

/// What is to be written down of a part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lease {
    /// Others may have what is more than this.
    Leaves(f64),
    /// As much of it as others have left.
    Takes(f64),
    Has,
}

/// For the `next` part, where so much is kept from others still (what was spent of a larger one), and `leased` is
/// what is written down.
pub fn lease(next: f64, kept: f64, leased: f64) -> Lease {
    match next.max(kept) {
        needs if needs < leased => Lease::Leaves(needs),
        _ if next > leased => Lease::Takes(next),
        _ => Lease::Has,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(apps: f64, own: f64) -> Wants {
        Wants { apps, own }
    }

    fn parts(all: &[Wants]) -> Vec<f64> {
        let part = |at: usize| {
            let others: Vec<Wants> = (0..all.len())
                .filter(|other| *other != at)
                .map(|other| all[other])
                .collect();
            fair(all[at], &others)
        };
        (0..all.len()).map(part).collect()
    }

    fn near(parts: &[f64], expected: &[f64]) {
        let close = |(one, other): (&f64, &f64)| (one - other).abs() < 1e-9;
        assert!(parts.iter().zip(expected).all(close), "{parts:?}");
    }

    #[test]
    fn who_is_alone_has_all_and_equals_have_equal_parts() {
        near(&parts(&[wants(0.0, 0.0)]), &[1.0]);
        near(&parts(&[wants(1.0, 1.0); 4]), &[0.25; 4]);
        near(&parts(&[wants(0.0, 0.0); 2]), &[0.5; 2]);
    }

    #[test]
    fn an_app_anywhere_goes_before_a_backfill_anywhere() {
        near(&parts(&[wants(1.0, 0.0), wants(0.0, 1.0)]), &[0.875, 0.125]);
        // An app that needs little leaves the rest to the walk.
        near(&parts(&[wants(0.325, 0.0), wants(0.0, 1.0)]), &[0.325, 0.675]);
    }

    #[test]
    fn who_needs_little_gets_it_and_the_busy_share_the_rest() {
        near(
            &parts(&[wants(0.2, 0.0), wants(1.0, 0.0), wants(1.0, 0.0)]),
            &[0.2, 0.4, 0.4],
        );
    }

    #[test]
    fn parts_are_never_more_than_the_whole_nor_much_less() {
        let steps = [0.0, 0.1, 0.4, 1.0];
        let each = || {
            steps
                .iter()
                .flat_map(|apps| steps.iter().map(|own| wants(*apps, *own)))
        };
        for (one, two, three) in each().flat_map(|a| each().flat_map(move |b| each().map(move |c| (a, b, c))))
        {
            let sum: f64 = parts(&[one, two, three]).iter().sum();
            assert!((sum - 1.0).abs() < 1e-9, "{one:?} {two:?} {three:?}: {sum}");
        }
    }

    #[test]
    fn what_is_written_down_follows_what_is_held_and_kept() {
        assert_eq!(lease(0.5, 0.0, 1.0), Lease::Leaves(0.5));
        assert_eq!(lease(0.5, 0.7, 1.0), Lease::Leaves(0.7));
        assert_eq!(lease(0.5, 0.7, 0.7), Lease::Has);
        assert_eq!(lease(0.5, 0.7, 0.5), Lease::Has);
        assert_eq!(lease(1.0, 1.0, 0.0), Lease::Takes(1.0));
        assert_eq!(lease(1.0, 0.0, 1.0), Lease::Has);
    }

    #[test]
    fn a_part_is_taken_only_once_another_has_left_it() {
        assert_eq!(next(0.0, 0.5, 1.0), 0.0);
        assert_eq!(next(1.0, 0.5, 0.0), 0.5);
        assert_eq!(next(0.0, 0.5, 0.5), 0.5);
        assert_eq!(next(0.5, 1.0, 0.0), 1.0);
        // Somebody took it meanwhile for dead.
        assert_eq!(next(0.5, 0.5, 1.0), 0.0);
        // Not worth moving.
        assert_eq!(next(0.5, 0.52, 0.5), 0.5);
    }
}
