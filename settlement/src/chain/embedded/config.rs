//! The development chain's configuration: its own network id, mainnet's prices.
//!
//! # Source
//! Basechain prices are mainnet's since 30 April 2026 (parameters 18, 21 and 25 as of masterchain block 72,712,993); masterchain
//! prices have not changed since 2023. Parameter 43 is absent, which means mainnet's size limits: the executor writes that parameter
//! in a form that TON's own software does not read.

use cocoon_market::NetworkId;
use tycho_types::error::Error;
use tycho_types::models::{
    BlockchainConfig, GasLimitsPrices, GlobalCapabilities, GlobalVersion, MsgForwardPrices, StoragePrices, WorkchainDescription,
    WorkchainFormat, WorkchainFormatBasic,
};
use tycho_types::prelude::{Dict, HashBytes};

/// Version of the virtual machine's rules; the newest that the executor knows.
const GLOBAL_VERSION: u32 = 12;
/// Mainnet's capabilities. The one that matters here is the third bit: bounced messages carry the head of what they answer.
const CAPABILITIES: u64 = 0b1_1110_1110;
/// Where the configuration contract would stand. The development chain has none: its configuration never changes.
const CONFIG_CONTRACT: HashBytes = HashBytes([0x55; 32]);

/// Gas that the transactions of one block may use before the rest waits for the next: mainnet's soft limit (parameter 23).
pub(super) const BLOCK_GAS_SOFT_MAX: u64 = 10_000_000;

const STORAGE: StoragePrices =
    StoragePrices { utime_since: 0, bit_price_ps: 0, cell_price_ps: 135, mc_bit_price_ps: 1_000, mc_cell_price_ps: 500_000 };

const GAS: GasLimitsPrices = GasLimitsPrices {
    gas_price: 4_369_067,
    gas_limit: 1_000_000,
    special_gas_limit: 1_000_000,
    gas_credit: 10_000,
    block_gas_limit: 10_000_000,
    freeze_due_limit: 100_000_000,
    delete_due_limit: 1_000_000_000,
    flat_gas_limit: 100,
    flat_gas_price: 6_667,
};

const MASTERCHAIN_GAS: GasLimitsPrices = GasLimitsPrices {
    gas_price: 655_360_000,
    gas_limit: 1_000_000,
    special_gas_limit: 70_000_000,
    gas_credit: 10_000,
    block_gas_limit: 2_500_000,
    freeze_due_limit: 100_000_000,
    delete_due_limit: 1_000_000_000,
    flat_gas_limit: 100,
    flat_gas_price: 1_000_000,
};

const FORWARD: MsgForwardPrices = MsgForwardPrices {
    lump_price: 66_667,
    bit_price: 4_369_067,
    cell_price: 436_906_667,
    ihr_price_factor: 98_304,
    first_frac: 21_845,
    next_frac: 21_845,
};

const MASTERCHAIN_FORWARD: MsgForwardPrices = MsgForwardPrices {
    lump_price: 10_000_000,
    bit_price: 655_360_000,
    cell_price: 65_536_000_000,
    ihr_price_factor: 98_304,
    first_frac: 21_845,
    next_frac: 21_845,
};

/// Builds the configuration of a new chain.
pub(super) fn build(network: NetworkId) -> Result<BlockchainConfig, Error> {
    let mut config = BlockchainConfig::new_empty(CONFIG_CONTRACT);
    let params = &mut config.params;
    params.set_global_version(&GlobalVersion { version: GLOBAL_VERSION, capabilities: GlobalCapabilities::new(CAPABILITIES) })?;
    params.set_workchains(&workchains()?)?;
    params.set_storage_prices(&[STORAGE])?;
    params.set_global_id(network.0)?;
    params.set_gas_prices(true, &MASTERCHAIN_GAS)?;
    params.set_gas_prices(false, &GAS)?;
    params.set_msg_forward_prices(true, &MASTERCHAIN_FORWARD)?;
    params.set_msg_forward_prices(false, &FORWARD)?;
    params.set_fundamental_addresses(&[])?;
    Ok(config)
}

fn workchains() -> Result<Dict<i32, WorkchainDescription>, Error> {
    let mut workchains = Dict::new();
    workchains.set(
        0,
        WorkchainDescription {
            enabled_since: 0,
            actual_min_split: 0,
            min_split: 0,
            max_split: 0,
            active: true,
            accept_msgs: true,
            zerostate_root_hash: HashBytes::ZERO,
            zerostate_file_hash: HashBytes::ZERO,
            version: 0,
            format: WorkchainFormat::Basic(WorkchainFormatBasic { vm_version: -1, vm_mode: 0 }),
        },
    )?;
    Ok(workchains)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tycho_executor::ParsedConfig;
    use tycho_types::cell::CellTreeStats;

    #[test]
    fn prices_are_mainnets_of_2026() {
        let config = ParsedConfig::parse(build(NetworkId::DEVNET).unwrap(), 1).unwrap();
        assert_eq!(config.global_id, -777);
        assert_eq!(config.gas_prices(false).compute_gas_fee(100).into_inner(), 6_667);
        assert_eq!(config.gas_prices(false).compute_gas_fee(1_000_000).into_inner(), 66_666_673, "a million gas is 0.0667 TON");
        let one_cell = CellTreeStats { bit_count: 0, cell_count: 1 };
        assert_eq!(config.fwd_prices(false).compute_fwd_fee(one_cell).into_inner(), 66_667 + 6_667);
        let year = config.storage_prices[0].compute_storage_fee(false, 31_536_000, CellTreeStats { bit_count: 1_000, cell_count: 1 });
        assert_eq!(year.into_inner(), 64_963, "a cell costs 0.000065 TON a year");
    }
}
