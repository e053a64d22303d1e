//! The audit as a table for other programs: RFC 4180, one line a channel, amounts in whole nanoton.

use cocoon_market::Amount;
use cocoon_settlement::contract::ChannelStatus;
use cocoon_settlement::ledger::{Audit, ChannelAudit, Role};

/// The columns. Others may come after them; these stay, and stay in this order.
const HEADER: [&str; 19] = [
    "side",
    "peer",
    "network",
    "channel",
    "status",
    "seen_at_unix_s",
    "receipts",
    "receipted_nanoton",
    "unacknowledged_nanoton",
    "acknowledged_nanoton",
    "waiting_nanoton",
    "in_batch_nanoton",
    "settled_nanoton",
    "disputed_nanoton",
    "deposited_nanoton",
    "refunded_nanoton",
    "held_nanoton",
    "frozen",
    "fault",
];

/// The whole table.
pub(super) fn text(audit: &Audit) -> String {
    let header = HEADER.map(str::to_owned);
    let lines = std::iter::once(header).chain(audit.channels.iter().map(fields));
    lines.map(|fields| fields.map(|field| quoted(&field)).join(",") + "\r\n").collect()
}

fn fields(row: &ChannelAudit) -> [String; HEADER.len()] {
    let amount = |of: fn(&cocoon_settlement::ledger::Sums) -> Amount| row.sums.as_ref().map(|sums| of(sums).nano().to_string());
    let known = |text: Option<String>| text.unwrap_or_default();
    [
        side_word(row.side).to_owned(),
        row.peer.to_string(),
        row.channel.network.0.to_string(),
        row.channel.address.to_string(),
        status_word(row.status).to_owned(),
        known(row.seen_at.map(|at| at.unix_s().to_string())),
        row.receipts.to_string(),
        known(amount(|sums| sums.receipted_nanoton)),
        known(amount(|sums| sums.unacknowledged_nanoton)),
        known(amount(|sums| sums.acknowledged_nanoton)),
        known(amount(|sums| sums.waiting_nanoton)),
        known(amount(|sums| sums.in_batch_nanoton)),
        known(amount(|sums| sums.settled_nanoton)),
        known(amount(|sums| sums.disputed_nanoton)),
        known(amount(|sums| sums.deposited_nanoton)),
        known(amount(|sums| sums.refunded_nanoton)),
        known(amount(|sums| sums.held_nanoton)),
        known(row.frozen.map(|found| found.to_string())),
        known(row.fault.map(|fault| fault.to_string())),
    ]
}

const fn side_word(side: Role) -> &'static str {
    match side {
        Role::Provider => "provider",
        Role::Requester => "requester",
    }
}

const fn status_word(status: Option<ChannelStatus>) -> &'static str {
    match status {
        None => "unseen",
        Some(ChannelStatus::Open) => "open",
        Some(ChannelStatus::Closing { .. }) => "closing",
        Some(ChannelStatus::Closed) => "closed",
    }
}

/// A field, in quotes where it needs them.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\r', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

#[cfg(test)]
mod tests {
    use cocoon_market::{ChannelRef, ContractAddress, NetworkId, NodeId, Timestamp};
    use cocoon_settlement::ledger::audit::{Facts, account};
    use cocoon_settlement::ledger::{AuditFault, ChainSight, Rollback};

    use super::*;

    fn row() -> ChannelAudit {
        let nano = Amount::from_nano;
        let seen_at = Timestamp(1_800_000_000_000);
        let sight = ChainSight { status: ChannelStatus::Open, deposit: nano(3_000_000_000), drawn: nano(40), seen_at };
        let facts = Facts { owed: nano(90), paid: nano(70), ordered: nano(60), sight: Some(sight) };
        ChannelAudit {
            channel: ChannelRef { network: NetworkId::DEVNET, address: ContractAddress([0xab; 32]) },
            side: Role::Provider,
            peer: NodeId([2; 32]),
            status: Some(sight.status),
            seen_at: Some(seen_at),
            receipts: 9,
            sums: Some(account(&facts).unwrap()),
            fault: None,
            frozen: None,
        }
    }

    #[test]
    fn a_line_has_as_many_fields_as_the_header_and_whole_nanoton() {
        let text = text(&Audit::of(vec![row()]).unwrap());
        let [header, line, ""] = text.split("\r\n").collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert_eq!(header.split(',').count(), line.split(',').count());
        assert!(line.starts_with("provider,"), "{line}");
        assert!(line.ends_with(",open,1800000000,9,90,20,70,10,20,40,0,3000000000,0,2999999960,,"), "{line}");
    }

    #[test]
    fn a_channel_that_does_not_sum_says_why_instead_of_amounts() {
        let found = Rollback::Drawn { drawn: Amount::from_nano(60), voucher: Amount::from_nano(30) };
        let wrong = ChannelAudit { sums: None, fault: Some(AuditFault::Rollback(found)), frozen: Some(found), ..row() };
        let text = text(&Audit::of(vec![wrong]).unwrap());
        assert!(text.contains(",9,,,,,,,,,,,\""), "{text}");
        assert_eq!(text.matches(&format!("\"{found}\"")).count(), 2, "{text}");
    }

    #[test]
    fn fields_are_quoted_where_they_need_it() {
        for (field, written) in [
            ("", ""),
            ("plain text", "plain text"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("a\nb", "\"a\nb\""),
            ("a\rb", "\"a\rb\""),
        ] {
            assert_eq!(quoted(field), written);
        }
    }
}
