//! The wall clock, for what people and other machines read. Timers run on the runtime's clock.

/// Milliseconds since 1970.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
