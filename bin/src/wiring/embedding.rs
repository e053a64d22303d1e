//! Buying vectors: texts in orders that fit, one after another under one agreement.

use cocoon_market::job::{TEXTS_BYTES_MAX, TEXTS_MAX, Vector};
use cocoon_market::{Amount, FinishReason, JobId, Usage};
use cocoon_p2p::{EmbedOrder, JobEvent};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::buying::{BuyError, Buyer, Deal, RunningJob};

/// What was bought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bought {
    /// The jobs it took.
    pub jobs: Vec<JobId>,
    /// One for each text, in their order.
    pub vectors: Vec<Vector>,
    /// All metered work.
    pub usage: Usage,
    /// What it cost.
    pub paid: Amount,
}

/// Why there is not a vector for each text. What came is paid for and not lost.
#[derive(Debug, thiserror::Error)]
pub enum EmbedTextsError {
    /// An order was not carried out.
    #[error(transparent)]
    Buy(#[from] BuyError),
    /// The job was cancelled.
    #[error("stopped after {got} of {want} texts")]
    Cancelled {
        /// Vectors that came.
        got: usize,
        /// Texts.
        want: usize,
    },
    /// A provider called an order done before its end.
    #[error("the provider ended the job after {got} of {want} texts")]
    Unfinished {
        /// Vectors that came.
        got: usize,
        /// Texts.
        want: usize,
    },
}

impl Buyer {
    /// Buys the vectors of texts under an agreement, for no more than `cap` in all. `observe` hears of each step. When `stop` is
    /// cancelled, the running job is, and what was done of it is paid.
    ///
    /// # Errors
    /// [`EmbedTextsError`]; what was bought until then is in `so_far`.
    ///
    /// # Cancel safety
    /// Dropped before it returns, the running job is cancelled, and paid up to where it came.
    pub async fn embed(
        &self,
        deal: &Deal,
        texts: Vec<String>,
        cap: Amount,
        so_far: &mut Bought,
        stop: &CancellationToken,
        mut observe: impl FnMut(&JobEvent) + Send,
    ) -> Result<(), EmbedTextsError> {
        let (all, mut due) = (texts.len(), 0);
        for texts in orders(texts) {
            due += texts.len();
            let job = self.run(deal, EmbedOrder::new(texts), cap.saturating_sub(so_far.paid)).await?;
            so_far.jobs.push(job.job());
            let end = follow(job, so_far, stop, &mut observe).await?;
            let got = so_far.vectors.len();
            match end {
                FinishReason::Cancelled => return Err(EmbedTextsError::Cancelled { got, want: all }),
                _ if got < due => return Err(EmbedTextsError::Unfinished { got, want: all }),
                FinishReason::Stop | FinishReason::StopSequence | FinishReason::Length => {}
            }
        }
        Ok(())
    }
}

/// Follows one job to its end; gives why it ended.
async fn follow(
    mut job: RunningJob,
    so_far: &mut Bought,
    stop: &CancellationToken,
    observe: &mut (impl FnMut(&JobEvent) + Send),
) -> Result<FinishReason, BuyError> {
    let before = so_far.usage;
    let mut end = FinishReason::Cancelled;
    let mut stopping = false;
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                job.cancel();
                continue;
            }
            event = job.next() => event,
        };
        let Some(event) = event.transpose()? else { break };
        observe(&event);
        match event {
            JobEvent::Vectors(some) => so_far.vectors.extend(some.vectors),
            JobEvent::Receipted { receipt, .. } => {
                so_far.usage = sum(before, receipt.receipt.body.usage);
                so_far.paid = so_far.paid.checked_add(receipt.receipt.body.amount).unwrap_or(Amount::MAX);
            }
            JobEvent::Done { reason, .. } => end = reason,
            // Vectors were ordered, and the client lets nothing else pass.
            JobEvent::Chunk(_) => {}
        }
    }
    Ok(end)
}

fn sum(a: Usage, b: Usage) -> Usage {
    Usage { input_tokens: a.input_tokens.saturating_add(b.input_tokens), output_tokens: a.output_tokens.saturating_add(b.output_tokens) }
}

/// Texts in as few orders as they fit in, in their order. A text too long for any order has one of its own, which is refused.
fn orders(texts: Vec<String>) -> Vec<Vec<String>> {
    let mut orders: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for text in texts {
        match orders.last_mut() {
            Some(order) if order.len() < TEXTS_MAX && text.len().saturating_add(bytes) <= TEXTS_BYTES_MAX => {
                bytes += text.len();
                order.push(text);
            }
            _ => {
                bytes = text.len();
                orders.push(vec![text]);
            }
        }
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fill_orders_up_to_their_bounds() {
        let sizes = |texts: Vec<String>| orders(texts).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(vec![]), [0; 0]);
        assert_eq!(sizes(vec!["a".into(); TEXTS_MAX * 2 + 1]), [TEXTS_MAX, TEXTS_MAX, 1]);
        let half = "a".repeat(TEXTS_BYTES_MAX / 2);
        assert_eq!(sizes(vec![half.clone(), half.clone(), "b".into(), half.clone(), half]), [2, 2, 1]);
        assert_eq!(sizes(vec!["a".repeat(TEXTS_BYTES_MAX + 1), "b".into()]), [1, 1]);
        assert_eq!(orders(vec!["a".into(), "b".into()]), [["a", "b"]]);
    }
}
