//! A program that reads whatever comes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ams_rpc::methods::inbox;
use ams_rpc::types::{InboxAckParams, InboxNextParams, Period};
use ams_tests::seed::Seed;
use tokio::time::sleep;

use super::person::Unanswered;
use super::world::World;

/// Reads, and acknowledges what it got until that is taken. `slowness`: how long it takes over it.
pub(crate) async fn read(
    world: Arc<World>,
    who: usize,
    slowness: Arc<Mutex<Duration>>,
    mut chance: Seed,
) {
    let person = &world.people[who];
    let reader = "default".to_owned();
    loop {
        person.up().await;
        let Some(client) = person.connect() else { continue };
        loop {
            let next = InboxNextParams {
                reader: reader.clone(),
                max: Some(u32::try_from(1 + chance.below(30)).unwrap()),
                wait: Some(Period(Duration::from_secs(3600))),
                from: None,
                from_start: None,
                peek: None,
                after: None,
            };
            let batch = match client.call::<inbox::Next>(&next).await {
                Ok(batch) => batch,
                Err(Unanswered::Failed(_)) => {
                    sleep(Duration::from_secs(1)).await;
                    break;
                }
                Err(Unanswered::Away) => break,
            };
            let Some(cursor) = batch.cursor else { continue };
            let slow = *slowness.lock().unwrap();
            if !slow.is_zero() {
                sleep(slow).await;
            }
            let ack = InboxAckParams { reader: reader.clone(), cursor };
            let first = client.call::<inbox::Ack>(&ack).await;
            if first.is_err() && person.insist::<inbox::Ack>(&ack).await.is_err() {
                world.books.wrong(format!("{} cannot acknowledge", person.name));
            }
            world.books.show(who, batch.messages);
            if first.is_err() {
                break;
            }
        }
    }
}
