//! What a person reads: one connection that takes messages and acknowledges them.

use ams_rpc::ErrorKind;
use ams_rpc::client::CallError;
use ams_rpc::methods::inbox;
use ams_rpc::types::{InboxAckParams, InboxBatch, InboxNextParams, Message, Period};

use crate::PATIENCE;
use crate::connection::Connection;

/// A named reader on a connection of its own.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    name: String,
}

impl Reader {
    pub(crate) fn new(connection: Connection, name: &str) -> Self {
        Self { connection, name: name.to_owned() }
    }

    /// What `inbox.next` of this reader takes; it does not wait.
    #[must_use]
    pub fn next(&self) -> InboxNextParams {
        InboxNextParams {
            reader: self.name.clone(),
            max: None,
            wait: None,
            from: None,
            from_start: None,
            peek: None,
            after: None,
        }
    }

    /// Looks for messages.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn look(&self, params: InboxNextParams) -> Result<InboxBatch, CallError> {
        self.connection.try_call::<inbox::Next>(params).await
    }

    /// Waits for messages. Where another program is at the reader at that very moment, again.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn waits(&self) -> Result<InboxBatch, CallError> {
        loop {
            let params = InboxNextParams { wait: Some(Period(PATIENCE)), ..self.next() };
            match self.look(params).await {
                Err(CallError::Failed(failure)) if failure.is(ErrorKind::ReaderBusy) => {}
                answered => return answered,
            }
        }
    }

    /// Acknowledges.
    pub async fn acknowledge(&self, cursor: &str) {
        let params = InboxAckParams { reader: self.name.clone(), cursor: cursor.to_owned() };
        self.connection.call::<inbox::Ack>(params).await;
    }

    /// The next messages, as many as there are, acknowledged.
    pub async fn takes_all(&self) -> Vec<Message> {
        let batch = self.look(self.next()).await.unwrap();
        if let Some(cursor) = &batch.cursor {
            self.acknowledge(cursor).await;
        }
        batch.messages
    }

    /// The next so many messages, waited for and acknowledged.
    pub async fn takes(&self, count: usize) -> Vec<Message> {
        self.takes_from(count, None).await
    }

    /// As [`Reader::takes`], of one contact.
    pub async fn takes_from(&self, count: usize, from: Option<&str>) -> Vec<Message> {
        let mut got = Vec::new();
        while got.len() < count {
            let batch = self
                .look(InboxNextParams {
                    max: u32::try_from(count - got.len()).ok(),
                    wait: Some(Period(PATIENCE)),
                    from: from.map(str::to_owned),
                    ..self.next()
                })
                .await
                .unwrap();
            let Some(cursor) = batch.cursor else {
                panic!("{} of {count} messages came", got.len());
            };
            got.extend(batch.messages);
            self.acknowledge(&cursor).await;
        }
        got
    }
}
