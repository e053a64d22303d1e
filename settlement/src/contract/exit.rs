//! Exit codes of our contracts, mirroring `contracts/errors.tolk`.

/// Why a contract refused a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u16)]
pub enum Exit {
    /// The message brings less value than the work it asks for costs.
    #[error("the message carries too little value for its fees")]
    TooLittleValue = 701,
    /// A statement is not as long as its layout, or carries references.
    #[error("the signed statement has another layout")]
    BadLayout = 702,
    /// A statement begins with another domain tag.
    #[error("the signed statement has another domain tag")]
    WrongTag = 703,
    /// A statement is about another network.
    #[error("the signed statement is about another network")]
    WrongNetwork = 704,
    /// A statement is about another channel.
    #[error("the signed statement is about another channel")]
    WrongChannel = 705,
    /// A signature does not fit statement and key.
    #[error("a signature does not verify")]
    BadSignature = 706,
    /// The voucher pays nothing above what was already drawn.
    #[error("the voucher pays nothing above what was already drawn")]
    NothingToDraw = 707,
    /// Both parties signed for more than the deposit.
    #[error("the closing statement is above the deposit")]
    OverDeposit = 708,
    /// Both parties signed for less than was already drawn.
    #[error("the closing statement is below what was already drawn")]
    BelowDrawn = 709,
    /// The channel is closed for ever.
    #[error("the channel is closed")]
    Closed = 710,
    /// The channel is closing: no deposit, no second close.
    #[error("the channel is closing")]
    Closing = 711,
    /// Only a closing channel can be finished.
    #[error("the channel is not closing")]
    NotClosing = 712,
    /// The challenge window is still open.
    #[error("the challenge window is still open")]
    WindowOpen = 713,
    /// The challenge window is over.
    #[error("the challenge window is over")]
    WindowOver = 714,
    /// Only the requester may do this.
    #[error("only the requester may do this")]
    NotRequester = 715,
    /// A deposit of nothing.
    #[error("a deposit of nothing")]
    ZeroDeposit = 716,
    /// Only the owner may do this.
    #[error("only the owner may do this")]
    NotOwner = 720,
    /// Only the dispute contract may do this.
    #[error("only the dispute contract may do this")]
    NotDispute = 721,
    /// An operator's message with another number than the next.
    #[error("the operator's message has another number than the next")]
    WrongNumber = 722,
    /// An operator's message whose time is over.
    #[error("the operator's message came too late")]
    Expired = 723,
    /// The operations balance does not pay for this.
    #[error("the operations balance does not pay for this")]
    OperationsEmpty = 724,
    /// A batch of none or of more than one transaction can send.
    #[error("a batch has 1 to 250 claims")]
    BatchCount = 725,
    /// The collateral that is neither allocated nor being released does not carry this.
    #[error("the free collateral does not carry this")]
    StakeTooSmall = 726,
    /// Nothing is being released.
    #[error("nothing is being released")]
    NothingUnbonding = 727,
    /// The release is not over.
    #[error("the release is not over")]
    StillUnbonding = 728,
    /// The sender is no channel of this provider.
    #[error("the sender is no channel of this provider")]
    NotAChannel = 729,
    /// A poke is open.
    #[error("a poke is open")]
    PokeOpen = 730,
    /// No poke is open.
    #[error("no poke is open")]
    NoPoke = 731,
    /// The last poke was too short a time ago.
    #[error("the last poke was too short a time ago")]
    PokedLately = 732,
    /// The time to answer a poke is over.
    #[error("the time to answer the poke is over")]
    PokeLate = 733,
    /// The time to answer a poke is not over.
    #[error("the time to answer the poke is not over")]
    PokeRunning = 734,
    /// The liveness bond does not carry a poke.
    #[error("the liveness bond does not carry this")]
    BondTooSmall = 735,
    /// There is nothing to send on.
    #[error("there is nothing to send on")]
    NothingToSend = 736,
    /// The epoch is not over.
    #[error("the epoch is not over")]
    EpochRunning = 737,
    /// Only the registry may do this.
    #[error("only the registry may do this")]
    NotRegistry = 738,
    /// The wallet has less than that.
    #[error("the wallet has less than that")]
    BalanceTooSmall = 740,
    /// The sender is no wallet of the token, or not the one it says to be.
    #[error("the sender is no wallet of this token, or not the one it says to be")]
    NotAWallet = 741,
    /// All COCOON was made.
    #[error("all COCOON was made, once and for all")]
    GenesisOver = 742,
    /// Only the vault may do this.
    #[error("only the vault may do this")]
    NotVault = 750,
    /// Only the rewards may do this.
    #[error("only the rewards may do this")]
    NotRewards = 751,
    /// An attestation is under way.
    #[error("an attestation is under way")]
    ClaimPending = 752,
    /// A claim of these was rewarded before.
    #[error("a claim of these was rewarded before")]
    IdsNotRising = 753,
    /// More fees than were booked in that epoch and not claimed for.
    #[error("more fees than were booked in that epoch and not claimed for")]
    OverFees = 754,
    /// The sender is no contract of a provider of this network.
    #[error("the sender is no contract of a provider of this network")]
    NotAProvider = 755,
    /// Claims for that epoch are not open.
    #[error("claims for that epoch are not open")]
    ClaimsClosed = 756,
    /// That epoch pays nothing, or not any more.
    #[error("that epoch pays nothing, or not any more")]
    NoPayout = 757,
    /// More than what was promised and not released.
    #[error("more than what was promised and not released")]
    OverOwed = 758,
    /// Payouts are stopped for a while.
    #[error("payouts are stopped for a while")]
    Stopped = 759,
    /// Only the governor may do this.
    #[error("only the governor may do this")]
    NotGovernor = 760,
    /// The sender is no lock of this governor, or not the one it says to be.
    #[error("the sender is no lock of this governor, or not the one it says to be")]
    NotALock = 761,
    /// A lock ends between one and 104 weeks from now.
    #[error("a lock ends between one and 104 weeks from now")]
    LockEnd = 762,
    /// A lock is never shortened.
    #[error("a lock is never shortened")]
    LockShorter = 763,
    /// Neither more is locked nor for longer.
    #[error("neither more is locked nor for longer")]
    LockSame = 764,
    /// The lock has not ended.
    #[error("the lock has not ended")]
    LockRunning = 765,
    /// Nothing is locked.
    #[error("nothing is locked")]
    NothingLocked = 766,
    /// What was locked last is not counted yet.
    #[error("what was locked last is not counted yet")]
    NotCounted = 767,
    /// The lock has voted on this.
    #[error("the lock has voted on this")]
    Voted = 768,
    /// So many proposals are open as can be.
    #[error("so many proposals are open as can be")]
    TooManyProposals = 769,
    /// There is no such proposal, or it was decided and forgotten.
    #[error("there is no such proposal, or it was decided and forgotten")]
    NoProposal = 770,
    /// The proposal is not voted on now.
    #[error("the proposal is not voted on now")]
    NotOpen = 771,
    /// The lock has no voice in this vote: too young, over too soon, or without weight.
    #[error("the lock has no voice in this vote")]
    NoVoice = 772,
    /// The lock weighs too little to propose.
    #[error("the lock weighs too little to propose")]
    TooLight = 773,
    /// What was proposed is nothing that can be decided.
    #[error("what was proposed is nothing that can be decided")]
    NoAction = 774,
    /// The proposal did not pass, or it is not the time to carry it out.
    #[error("the proposal did not pass, or it is not the time to carry it out")]
    NotReady = 775,
    /// Another action was voted on.
    #[error("another action was voted on")]
    OtherAction = 776,
    /// So much of the treasury's COCOON is not vested.
    #[error("so much of the treasury's COCOON is not vested")]
    NotVested = 777,
    /// The treasury has less TON than that.
    #[error("the treasury has less TON than that")]
    TreasuryEmpty = 778,
    /// Only the guardian may do this.
    #[error("only the guardian may do this")]
    NotGuardian = 779,
    /// The last emergency stop was too short a time ago.
    #[error("the last emergency stop was too short a time ago")]
    StoppedLately = 780,
    /// The contracts know each other, once and for all.
    #[error("the contracts know each other, once and for all")]
    Introduced = 781,
    /// The contracts do not know each other yet.
    #[error("the contracts do not know each other yet")]
    NotIntroduced = 782,
    /// There is no such parameter.
    #[error("there is no such parameter")]
    NoParameter = 783,
    /// The parameter is never so large or so small.
    #[error("the parameter is never so large or so small")]
    OutOfBounds = 784,
    /// The parameter has that value.
    #[error("the parameter has that value")]
    SameValue = 785,
    /// The parameter was changed too short a time ago.
    #[error("the parameter was changed too short a time ago")]
    ChangedLately = 786,
    /// One vote does not move the parameter that far.
    #[error("one vote does not move the parameter that far")]
    StepTooLarge = 787,
    /// A point is not in its group, or is infinity.
    #[error("a point is not in its group, or is infinity")]
    BadPoint = 788,
    /// A number is not below the order of the field.
    #[error("a number is not below the order of the field")]
    NotInField = 789,
    /// The proof does not hold.
    #[error("the proof does not hold")]
    BadProof = 790,
    /// No circuit has this number, or its key was never set.
    #[error("no circuit has this number, or its key was never set")]
    NoKey = 791,
    /// No change of the auditors waits for a proof.
    #[error("no change of the auditors waits for a proof")]
    NothingPending = 792,
    /// The list is not the one that was decided on.
    #[error("the list is not the one that was decided on")]
    OtherList = 793,
    /// The list has no auditor, more than 64, or not as many as the message says.
    #[error("the list has no auditor, more than 64, or not as many as the message says")]
    ListLength = 794,
    /// No message of the contract begins so.
    #[error("the contract knows no such message")]
    UnknownMessage = 65535,
}

impl Exit {
    /// All of them, in the order of the Tolk file.
    pub const ALL: [Self; 84] = [
        Self::TooLittleValue,
        Self::BadLayout,
        Self::WrongTag,
        Self::WrongNetwork,
        Self::WrongChannel,
        Self::BadSignature,
        Self::NothingToDraw,
        Self::OverDeposit,
        Self::BelowDrawn,
        Self::Closed,
        Self::Closing,
        Self::NotClosing,
        Self::WindowOpen,
        Self::WindowOver,
        Self::NotRequester,
        Self::ZeroDeposit,
        Self::NotOwner,
        Self::NotDispute,
        Self::WrongNumber,
        Self::Expired,
        Self::OperationsEmpty,
        Self::BatchCount,
        Self::StakeTooSmall,
        Self::NothingUnbonding,
        Self::StillUnbonding,
        Self::NotAChannel,
        Self::PokeOpen,
        Self::NoPoke,
        Self::PokedLately,
        Self::PokeLate,
        Self::PokeRunning,
        Self::BondTooSmall,
        Self::NothingToSend,
        Self::EpochRunning,
        Self::NotRegistry,
        Self::BalanceTooSmall,
        Self::NotAWallet,
        Self::GenesisOver,
        Self::NotVault,
        Self::NotRewards,
        Self::ClaimPending,
        Self::IdsNotRising,
        Self::OverFees,
        Self::NotAProvider,
        Self::ClaimsClosed,
        Self::NoPayout,
        Self::OverOwed,
        Self::Stopped,
        Self::NotGovernor,
        Self::NotALock,
        Self::LockEnd,
        Self::LockShorter,
        Self::LockSame,
        Self::LockRunning,
        Self::NothingLocked,
        Self::NotCounted,
        Self::Voted,
        Self::TooManyProposals,
        Self::NoProposal,
        Self::NotOpen,
        Self::NoVoice,
        Self::TooLight,
        Self::NoAction,
        Self::NotReady,
        Self::OtherAction,
        Self::NotVested,
        Self::TreasuryEmpty,
        Self::NotGuardian,
        Self::StoppedLately,
        Self::Introduced,
        Self::NotIntroduced,
        Self::NoParameter,
        Self::OutOfBounds,
        Self::SameValue,
        Self::ChangedLately,
        Self::StepTooLarge,
        Self::BadPoint,
        Self::NotInField,
        Self::BadProof,
        Self::NoKey,
        Self::NothingPending,
        Self::OtherList,
        Self::ListLength,
        Self::UnknownMessage,
    ];

    /// The number a transaction shows.
    pub const fn code(self) -> i32 {
        // An `i32` holds every `u16`; the discriminants above are all below it.
        #[allow(clippy::as_conversions)]
        {
            self as u16 as i32
        }
    }

    /// The reason behind a transaction's exit code, if it is one of ours.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tolk_file_lists_the_same_codes() {
        let source = include_str!("../../contracts/errors.tolk");
        let codes: Vec<i32> = source
            .lines()
            .filter(|line| line.starts_with("const "))
            .map(|line| line.rsplit_once("= ").unwrap().1.parse().unwrap())
            .collect();
        assert_eq!(codes, Exit::ALL.map(Exit::code));
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(exit.code()), Some(exit));
        }
        assert_eq!(Exit::from_code(0), None);
    }
}
