//! The wall clock, for what people and other machines read. Timers run on the runtime's clock.

use std::fmt;
use std::sync::Arc;

/// Tells the time. Clones tell the same.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn() -> i64 + Send + Sync>>);

impl Clock {
    /// Says what `tell` says, milliseconds since 1970: for simulations.
    pub fn told_by(tell: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> i64 {
        self.0.as_ref().map_or_else(|| jiff::Timestamp::now().as_millisecond(), |tell| tell())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(told)" } else { "Clock(system)" })
    }
}
