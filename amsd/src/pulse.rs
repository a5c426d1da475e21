//! Whether a task still goes around: it answers in its own loop, so an answer says that nothing in
//! that loop hangs.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

/// Asks a task, and is answered by it. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Vec<oneshot::Sender<()>>>,
    news: Notify,
}

impl Pulse {
    /// Resolves when the task has come around once more; never, where it hangs or has ended.
    pub(crate) async fn felt(&self) {
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever gave up is not answered: of a task that hangs, nothing piles up.
            waiting.retain(|reply| !reply.is_closed());
            waiting.push(reply);
        }
        self.shared.news.notify_one();
        if answer.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The task's side: resolves when it is asked. Can be dropped without loss.
    pub(crate) async fn asked(&self) {
        self.shared.news.notified().await;
    }

    /// The task's side: answers everybody who has asked.
    pub(crate) fn beat(&self) {
        let waiting = {
            let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *waiting)
        };
        for reply in waiting {
            // It may have given up meanwhile.
            let _ = reply.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn it_is_felt_once_the_task_comes_around() {
        let pulse = Pulse::default();
        let mut felt = Box::pin(pulse.felt());
        timeout(Duration::ZERO, &mut felt).await.expect_err("nobody has answered");
        pulse.asked().await;
        pulse.beat();
        felt.await;
    }

    #[tokio::test]
    async fn of_a_task_that_hangs_nothing_piles_up() {
        let pulse = Pulse::default();
        for _ in 0..100 {
            timeout(Duration::ZERO, pulse.felt()).await.unwrap_err();
        }
        assert_eq!(pulse.shared.waiting.lock().unwrap().len(), 1);
    }
}
