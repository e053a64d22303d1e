//! What happens on the way from a question to a paid answer, as a person or a program is told of it.
//!
//! One [`Event`] is one line of JSON, or one or a few lines of text. Amounts are nano-units as text in JSON, and TON for people.

use cocoon_market::agreement::Terms;
use cocoon_market::job::Chunk;
use cocoon_market::{Amount, NodeId, PriceTable, SignedReceipt, SignedVoucher, Usage};
use cocoon_p2p::{Match, NegotiationStep};
use serde::Serialize;

use crate::output::{Output, Tone, ton_text};
use crate::wiring::buying::{BuyStep, score_text};

/// Columns before the text of an event: room for the beginning of a node's id.
const NAME_WIDTH: usize = 9;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Offers were compared.
    Matched {
        /// Best first.
        offers: Vec<Ranked>,
    },
    /// What stands behind the work of the provider that is asked next.
    Backed {
        /// Who is asked.
        provider: NodeId,
        /// Its collateral that is not being released.
        stake_nanoton: Amount,
        /// The most that all jobs under the agreement may cost.
        cap_nanoton: Amount,
    },
    /// A message of a negotiation.
    Negotiation {
        /// Who speaks.
        by: Speaker,
        /// With which provider.
        provider: NodeId,
        /// What.
        message: &'static str,
        /// What it says.
        detail: String,
    },
    /// An offer did not lead to an agreement, and the next one is tried.
    Passed {
        /// Whose offer.
        provider: NodeId,
        /// Why.
        why: String,
    },
    /// An agreement that stood is used again.
    Reused {
        /// It.
        agreement: cocoon_market::AgreementId,
        /// With whom.
        provider: NodeId,
    },
    /// Tokens came. People see them as the answer.
    Chunk {
        /// Counts from 0.
        index: u64,
        /// The tokens.
        tokens: Vec<u32>,
        /// Their text.
        text: String,
        /// All work so far.
        usage: Usage,
    },
    /// A text's vector came.
    Vector {
        /// Which of the texts, from 0.
        index: usize,
        /// Its elements.
        vector: Vec<f32>,
    },
    /// A slice was receipted and paid.
    Paid {
        /// Receipts so far.
        sequence: u64,
        /// What this one costs.
        amount_nanoton: Amount,
        /// All that the channel has paid.
        cumulative_nanoton: Amount,
    },
    /// Every text has its vector.
    Embedded {
        /// The jobs it took.
        jobs: Vec<cocoon_market::JobId>,
        /// Who did it.
        provider: NodeId,
        /// How many.
        vectors: usize,
        /// All work.
        usage: Usage,
        /// What was paid.
        paid_nanoton: Amount,
        /// From the first order to the last vector.
        took_ms: u64,
    },
    /// The answer is complete.
    Done {
        /// The job.
        job: cocoon_market::JobId,
        /// Who did it.
        provider: NodeId,
        /// Why it ended.
        reason: cocoon_market::FinishReason,
        /// All work.
        usage: Usage,
        /// What was paid.
        paid_nanoton: Amount,
        /// From the order to the first token.
        first_token_ms: u64,
        /// After the first token.
        tokens_per_s: f64,
    },
}

/// Who speaks in a negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// This node.
    Requester,
    /// The other one.
    Provider,
}

/// An offer and its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranked {
    /// Whose.
    pub provider: NodeId,
    /// Why it stands there.
    pub why: String,
    /// What a usual job costs, weighed with time and reliability.
    pub effective_nanoton: Amount,
}

impl Event {
    /// The event of one step towards an agreement.
    pub fn of_step(step: BuyStep) -> Self {
        match step {
            BuyStep::Found(matches) => Self::of_matches(&matches),
            BuyStep::Backed { provider, stake, cap } => Self::Backed { provider, stake_nanoton: stake, cap_nanoton: cap },
            BuyStep::Negotiation(provider, step) => negotiation(provider, step),
            BuyStep::Next { provider, why } => Self::Passed { provider, why },
        }
    }

    /// The event of a search.
    pub fn of_matches(matches: &[Match]) -> Self {
        let ranked = |one: &Match| Ranked {
            provider: one.offer.provider,
            why: score_text(&one.offer, &one.score),
            effective_nanoton: one.score.effective(),
        };
        Self::Matched { offers: matches.iter().map(ranked).collect() }
    }

    /// The event of a chunk.
    pub fn of_chunk(chunk: Chunk) -> Self {
        let Chunk { index, tokens, text, usage } = chunk;
        Self::Chunk { index, tokens, text, usage }
    }

    /// The event of a payment: a receipt, and the voucher that pays it.
    pub fn of_payment(receipt: &SignedReceipt, voucher: &SignedVoucher) -> Self {
        Self::Paid {
            sequence: voucher.voucher.sequence,
            amount_nanoton: receipt.receipt.body.amount,
            cumulative_nanoton: voucher.voucher.cumulative,
        }
    }

    /// Prints it: as it is to programs, as text to people.
    pub fn tell(&self, out: &Output) {
        out.result(self, |event| event.text(out));
    }

    /// The text for people, without a line end.
    pub fn text(&self, out: &Output) -> String {
        match self {
            Self::Matched { offers } => matched_text(out, offers),
            Self::Negotiation { by, provider, message, detail } => {
                let who = match by {
                    Speaker::Requester => "we".to_owned(),
                    Speaker::Provider => provider.short(),
                };
                line(out, &who, &format!("{message:<9} {detail}"))
            }
            Self::Backed { provider, stake_nanoton, cap_nanoton } => {
                let (stake, cap) = (ton_text(*stake_nanoton), ton_text(*cap_nanoton));
                line(out, &provider.short(), &format!("{:<9} {stake} of collateral; we agree to {cap} at most", "stakes"))
            }
            Self::Passed { provider, why } => line(out, &provider.short(), &format!("no agreement: {why}")),
            Self::Reused { agreement, provider } => {
                line(out, &provider.short(), &format!("agreement {} is used again, and its channel", agreement.short()))
            }
            Self::Chunk { text, .. } => text.clone(),
            Self::Vector { index, vector } => format!("{index} {vector:?}"),
            Self::Embedded { jobs, provider, vectors, usage, paid_nanoton, took_ms } => {
                let jobs = jobs.iter().map(|job| job.short()).collect::<Vec<_>>().join(", ");
                let work = format!("{} tokens read for {vectors} vectors in {took_ms} ms", usage.input_tokens);
                out.paint(Tone::Faint, format!("{work}\n{} paid to {}, job {jobs}", ton_text(*paid_nanoton), provider.short()))
            }
            Self::Paid { sequence, amount_nanoton, cumulative_nanoton } => {
                line(out, "we", &format!("pay receipt {sequence} of {amount_nanoton} TON; {cumulative_nanoton} TON in all"))
            }
            Self::Done { provider, reason, usage, paid_nanoton, first_token_ms, tokens_per_s, job } => {
                let speed = format!("{tokens_per_s:.1} tokens/s, the first after {first_token_ms} ms");
                let work =
                    format!("{} tokens read, {} written ({}), {speed}", usage.input_tokens, usage.output_tokens, reason_word(*reason));
                out.paint(Tone::Faint, format!("{work}\n{} paid to {}, job {}", ton_text(*paid_nanoton), provider.short(), job.short()))
            }
        }
    }
}

/// Why an answer ended, for people.
const fn reason_word(reason: cocoon_market::FinishReason) -> &'static str {
    use cocoon_market::FinishReason;
    match reason {
        FinishReason::Stop => "the model was done",
        FinishReason::Length => "limit reached",
        FinishReason::StopSequence => "stop sequence",
        FinishReason::Cancelled => "cancelled",
    }
}

fn line(out: &Output, who: &str, text: &str) -> String {
    out.paint(Tone::Faint, format!("{who:<NAME_WIDTH$} {text}"))
}

fn matched_text(out: &Output, offers: &[Ranked]) -> String {
    let text = |(place, offer): (usize, &Ranked)| {
        let mark = if place == 0 { "wins:" } else { "then:" };
        line(out, &offer.provider.short(), &format!("{mark:<9} {}", offer.why))
    };
    offers.iter().enumerate().map(text).collect::<Vec<_>>().join("\n")
}

fn negotiation(provider: NodeId, step: NegotiationStep) -> Event {
    use Speaker::{Provider, Requester};
    let (by, message, detail) = match step {
        NegotiationStep::Proposed { round, terms } => (Requester, "propose", format!("round {round}: {}", terms_text(&terms))),
        NegotiationStep::Countered { round, terms } => (Provider, "counters", format!("round {round}: {}", terms_text(&terms))),
        NegotiationStep::Accepted { terms } => (Provider, "accepts", terms_text(&terms)),
        NegotiationStep::Funding { channel, cap } => {
            (Requester, "fund", format!("channel {} to carry {}", channel.address.short(), ton_text(cap)))
        }
        NegotiationStep::Funded { channel } => (Requester, "funded", format!("channel {} on the chain", channel.address.short())),
        NegotiationStep::Committing { agreement } => (Requester, "commit", format!("agreement {}", agreement.short())),
        NegotiationStep::Agreed { agreement } => (Provider, "commits", format!("agreement {} is signed by both", agreement.short())),
        NegotiationStep::Refused { reason } => (Provider, "refuses", reason.to_string()),
        NegotiationStep::Lost => (Provider, "silent", "a message was lost; trying again".to_owned()),
    };
    Event::Negotiation { by, provider, message, detail }
}

fn terms_text(terms: &Terms) -> String {
    let PriceTable { input_per_mtok, output_per_mtok, .. } = terms.price;
    format!(
        "{input_per_mtok} in, {output_per_mtok} out (TON per million tokens), cap {}, a receipt each {} tokens",
        ton_text(terms.cap),
        terms.slice_tokens,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::output::Format;

    #[test]
    fn an_event_is_one_json_object_with_its_name() {
        let paid = Event::Paid { sequence: 3, amount_nanoton: Amount::from_nano(7), cumulative_nanoton: Amount::from_nano(21) };
        let json = serde_json::to_value(&paid).unwrap();
        assert_eq!(json, serde_json::json!({ "event": "paid", "sequence": 3, "amount_nanoton": "7", "cumulative_nanoton": "21" }));
    }

    #[test]
    fn people_read_amounts_in_ton() {
        let out = Output::new(Format::Text, false, &Environment { no_color: true, ..Environment::default() });
        let paid = Event::Paid { sequence: 3, amount_nanoton: Amount::from_nano(7), cumulative_nanoton: Amount::from_nano(21) };
        assert_eq!(paid.text(&out), "we        pay receipt 3 of 0.000000007 TON; 0.000000021 TON in all");
    }
}
