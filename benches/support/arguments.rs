//! What stands behind `--` on the command line.

/// The first whole number among the arguments.
pub fn count_or(otherwise: usize) -> usize {
    std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(otherwise)
}
