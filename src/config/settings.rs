//! What was written: `usertap.toml`, over it the environment, over it flags. The only reader of
//! the environment.
