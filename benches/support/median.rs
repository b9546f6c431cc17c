//! Medians.

/// The middle of an odd number of samples, the upper middle of an even one.
pub fn median(samples: &[f64]) -> f64 {
    at(samples, 0.5)
}

/// The sample below which this part of them lies.
pub fn at(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * part) as usize;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}
