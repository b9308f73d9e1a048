//! Recording orders as they stream in: checked one by one, written in batches.
//!
//! A batch is written by a task of the process, and the next is not read before it is: whoever
//! sends faster than the database writes is held back by the transport, and memory holds two
//! batches of a stream at most.

use crate::model::Order;
use crate::store::Store;
use futures_util::{Stream, StreamExt as _};
use larder::Token;
use larder_host::Base;
use larder_host::status::of_write;
use larder_proto::reports::v1 as wire;
use larder_runtime::status;
use std::pin::pin;
use tonic::Status;

/// Orders in one message.
const MOST_ORDERS: usize = 1000;
/// Orders in one transaction, but for what the last message of it brings.
const BATCH: usize = 1000;
/// Refused orders that the answer names.
pub const MOST_REFUSALS: usize = 100;
/// Characters of a refused id that the answer repeats.
const MOST_ID_CHARS: usize = 100;

/// Records a stream of orders to its end, and says what became of them. The token is the last
/// batch's, which began after all others were committed: what reflects it reflects them.
pub async fn record(
    base: &Base,
    store: &Store,
    messages: impl Stream<Item = Result<wire::RecordOrdersRequest, Status>>,
) -> Result<(wire::RecordOrdersResponse, Option<Token>), Status> {
    let mut recording = Recording {
        base,
        store,
        batch: Vec::with_capacity(BATCH),
        told: wire::RecordOrdersResponse::default(),
        token: None,
    };
    let mut messages = pin!(messages);
    while let Some(message) = messages.next().await {
        let orders = message?.orders;
        if orders.len() > MOST_ORDERS {
            let problem = format!("more than {MOST_ORDERS} orders in one message");
            return Err(status::invalid("orders", problem));
        }
        for order in &orders {
            recording.take(order);
        }
        if recording.batch.len() >= BATCH {
            recording.write().await?;
        }
    }
    recording.write().await?;
    Ok((recording.told, recording.token))
}

struct Recording<'a> {
    base: &'a Base,
    store: &'a Store,
    batch: Vec<Order>,
    told: wire::RecordOrdersResponse,
    token: Option<Token>,
}

impl Recording<'_> {
    fn take(&mut self, order: &wire::Order) {
        let place = self.told.received;
        self.told.received += 1;
        match Order::check(order) {
            Ok(order) => self.batch.push(order),
            Err(problem) => {
                self.told.refused += 1;
                if self.told.refusals.len() < MOST_REFUSALS {
                    self.told.refusals.push(wire::RefusedOrder {
                        place,
                        id: order.id.chars().take(MOST_ID_CHARS).collect(),
                        field: problem.field.to_owned(),
                        problem: problem.problem,
                    });
                }
            }
        }
    }

    async fn write(&mut self) -> Result<(), Status> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        let count = batch.len() as u64;
        let (store, source) = (self.store.clone(), self.base.source().clone());
        let write = self.base.write(async move {
            let recorded = store.record(&batch).await;
            let (recorded, written) = recorded.map_err(|e| of_write(&e, "recording orders"))?;
            let token = match written {
                Some(written) => Some(source.wrote(written).await),
                None => None,
            };
            Ok((recorded, token))
        });
        let (recorded, token) = write.await?;
        self.told.recorded += recorded;
        self.told.known += count - recorded;
        self.token = token.or(self.token.take());
        Ok(())
    }
}
