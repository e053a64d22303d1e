//! What people can do when a network has not what a command looks for.

use std::borrow::Cow;

use cocoon_settlement::settler::{AccountFault, NetworkError};

use crate::failure::NextStep;

impl NextStep for NetworkError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Chain(error) => error.next_step(),
            Self::Account { fault: AccountFault::NotDeployed, .. } => {
                "swarm devnet or swarm chain deploy, which found a network; else check chain.terms and chain.network in the configuration"
                    .into()
            }
            Self::Account { fault: AccountFault::OwnCode(_), .. } | Self::Cell(_) => {
                "another build of this program: this one is damaged".into()
            }
            Self::Account { .. } | Self::Data { .. } | Self::Other { .. } => {
                "check chain.terms in the configuration: they may be another network's, or for another version of this program".into()
            }
            Self::StandIn(_) => "a network that was founded with it: this one has a token and an auction".into(),
        }
    }
}
