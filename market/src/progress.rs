//! The job machines: what is metered, receipted, and believed while an answer or vectors stream.
//!
//! [`JobMeter`] runs beside the provider's executor, [`JobCheck`] beside the requester's stream. Both are recorded
//! machines of one job. The channel (sequence numbers, cumulative amounts, the receipts tree, durability) is not their
//! business: the ledger numbers, journals and signs the [`Slice`]s that a meter asks for, and checks the place in the
//! channel of the receipts that a check asks to pay.
//!
//! Provider:
//!
//! ```text
//! from      event                        to         effect
//! Reading   InputRead, cap pays for it   Running    -
//! Reading   InputRead, it doesn't        Over       Stop(CapTooSmall)
//! Reading   Cancelled                    Over       Finish(Cancelled), Close
//! Running   Produced                     Running    SendChunk; IssueReceipt when a slice is full
//! Running   Produced, unpaid > float     Paused     SendChunk, IssueReceipt, Pause
//! Running   Produced, beyond the cap     Finishing  IssueReceipt(last), Finish(Length); the chunk is not sent
//! Paused    VoucherAccepted              Running    Resume
//! Paused    Elapsed, half a minute       Over       Stop(Unpaid)
//! Running, Paused   Finished, Cancelled  Finishing  IssueReceipt(last), Finish
//! Finishing VoucherAccepted, all paid    Over       Close
//! Finishing Elapsed, half a minute       Over       Close
//! Finishing Failed                       Over       Close
//! Reading, Running, Paused   Failed      Over       Stop
//! Running, Paused, Finishing   ReceiptRefused   Over   Stop, instead of what would have followed the receipt
//! live      ReceiptSigned                the same   -
//! ```
//!
//! `Embedded` is to an order of vectors what `Produced` is to one of text, with `SendVectors` for `SendChunk`. A prompt is
//! read, and paid, as a whole; the tokens of texts count as their vectors are given, and slices are measured in them.
//!
//! Requester: chunks and receipts are taken until the final receipt, then `Done`; `Stopped` ends it at any time. A frame
//! that breaks a rule is a [`JobFault`] and leaves the check as it was.
//!
//! Invariants, kept under every sequence of inputs (`progress/tests.rs`):
//!
//! - PR-1: the slices of a job add up to the price of its final usage, exactly, and never exceed the cap.
//! - PR-2: work that is not paid never exceeds the float by more than one chunk (and the prompt, in the first one).
//! - PR-3: a requester never pays for tokens it has not received, or for texts whose vectors it has not.
//! - PR-4: an honest meter never fails an honest check.

mod check;
mod meter;
mod output;

#[cfg(test)]
mod tests;

pub use check::{CheckEffect, CheckEvent, JobCheck, JobFault, Outcome};
pub use meter::{JobMeter, MeterEffect, MeterEvent, MeterReject, MeterState, MeterTerms, RECEIPTS_UNPAID_MAX, Slice, VOUCHER_WAIT_MS};
pub use output::OutputMax;
