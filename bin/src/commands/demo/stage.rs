//! Who takes part: a chain, a bootstrap peer, two providers with different prices, a requester. Each has its own keys and
//! ledger, and they meet over sockets on loopback.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cocoon_market::{Amount, ContractAddress, NetworkId, NodeId, SettlementTerms};
use cocoon_p2p::{KadMode, NodeConfig, Provider, Shutdown};
use cocoon_settlement::chain::embedded::Embedded;
use cocoon_settlement::chain::{Address, Chain};
use cocoon_settlement::contract::{NetworkTerms, VaultData};
use cocoon_settlement::wallet::OwnerWallet;
use tokio_util::sync::CancellationToken;

use super::economy::Forward;
use super::story::Story;
use super::{DemoError, PATIENCE, fund};
use crate::chain::open_embedded_by;
use crate::commands::blocking;
use crate::config::{ChainConfig, Network, Price, ProvideConfig, RequesterConfig, devnet_founder, devnet_founding};
use crate::deployment::ensure_devnet;
use crate::failure::Failure;
use crate::home::Home;
use crate::keystore::{self, Keys, Protection};
use crate::wiring::buying::Buyer;
use crate::wiring::keeper::Pace;
use crate::wiring::node::{Parts, RunningNode};
use crate::wiring::open_home::tick;
use crate::wiring::own::{ensure_stake, provider_terms};
use crate::wiring::payer::Backing;
use crate::wiring::serving::Served;

/// Time between two blocks: a quarter of what a devnet takes, so that nobody waits for long.
pub(super) const BLOCK_TIME: Duration = Duration::from_millis(500);

/// What the requester begins with.
const REQUESTER_FUNDS: Amount = Amount::from_nano(10_000_000_000);

/// What a provider begins with: its stake, bond and operations balance, and the gas of putting them there.
const PROVIDER_FUNDS: Amount = Amount::from_nano(2_000_000_000);

/// What the requester puts into the channel.
const DEPOSIT: Amount = Amount::from_nano(1_000_000_000);

/// Tokens between two receipts: few, so that even a short answer has several vouchers.
const SLICE_TOKENS: NonZeroU32 = NonZeroU32::new(16).unwrap();

/// Prices for a million tokens written, in nano-units; tokens read cost a quarter. A thousand times a market price, so that
/// one short answer is worth the gas of its claim.
const PRICES: [(&str, u128); 2] = [("provider-dear", 400_000_000_000), ("provider-fair", 320_000_000_000)];

/// The chain and where everything is kept.
pub(super) struct Stage {
    root: PathBuf,
    chain: Arc<Embedded>,
    forward: Forward,
    terms: NetworkTerms,
    ticking: CancellationToken,
}

/// Somebody with keys, a ledger and a peer.
pub(super) struct Player {
    name: &'static str,
    owner: Arc<OwnerWallet>,
    node: RunningNode,
    service: Option<Provider>,
    contract: Option<ContractAddress>,
}

/// Everybody.
pub(super) struct Cast {
    bootstrap: Player,
    providers: Vec<Player>,
    pub(super) requester: Player,
}

impl Stage {
    /// Starts the chain.
    pub(super) async fn set(root: &Path, story: &Story) -> Result<Self, Failure> {
        story.chapter("A chain, four peers");
        let dir = root.join("chain");
        let forward = Forward::default();
        let clock = forward.clock();
        let chain = Arc::new(blocking(move || open_embedded_by(&dir, BLOCK_TIME, clock)).await?);
        let ticking = CancellationToken::new();
        tokio::spawn(tick(Arc::clone(&chain), BLOCK_TIME, ticking.clone()));
        story.chain(chain.network(), BLOCK_TIME);
        let terms = ChainConfig::default().network_terms()?;
        let (founded, founder, founding) = (Arc::clone(&chain), devnet_founder()?, devnet_founding()?);
        blocking(move || ensure_devnet(&*founded, &*founded, &founder, &founding, PATIENCE)).await?;
        story.vault_deployed(Address::from(terms.vault), terms.fee_bps);
        Ok(Self { root: root.to_owned(), chain, forward, terms, ticking })
    }

    /// The chain.
    pub(super) const fn chain(&self) -> &Arc<Embedded> {
        &self.chain
    }

    /// What sets its clock forward.
    pub(super) const fn forward(&self) -> &Forward {
        &self.forward
    }

    /// What is the same for all providers.
    pub(super) const fn terms(&self) -> &NetworkTerms {
        &self.terms
    }

    /// Where the network fee goes.
    pub(super) fn vault(&self) -> Address {
        Address::from(self.terms.vault)
    }

    /// What the vault has got.
    pub(super) async fn vault_data(&self) -> Result<VaultData, DemoError> {
        let (chain, vault) = (Arc::clone(&self.chain), self.vault());
        let data = blocking(move || chain.account(&vault)).await?.data;
        data.and_then(|data| VaultData::from_cell(&data).ok()).ok_or(DemoError::NoVault)
    }

    /// Waits until a whole block has moved no money between the accounts that `count` looks at: until then a message may be on its way.
    pub(super) async fn settled<T: PartialEq>(&self, count: impl AsyncFn() -> Result<T, DemoError>) -> Result<T, DemoError> {
        let still = async {
            let mut before = count().await?;
            loop {
                self.next_block().await?;
                let now = count().await?;
                if now == before {
                    return Ok(now);
                }
                before = now;
            }
        };
        tokio::time::timeout(PATIENCE, still).await.unwrap_or(Err(DemoError::Late("an end of all transactions")))
    }

    /// Waits until the chain has made another block.
    async fn next_block(&self) -> Result<(), DemoError> {
        let head = || {
            let chain = Arc::clone(&self.chain);
            blocking(move || chain.head())
        };
        let before = head().await?.seqno;
        let mut blocks = tokio::time::interval(BLOCK_TIME);
        while head().await?.seqno <= before {
            blocks.tick().await;
        }
        Ok(())
    }

    /// What an account holds.
    pub(super) async fn balance(&self, address: Address) -> Result<Amount, DemoError> {
        let chain = Arc::clone(&self.chain);
        Ok(blocking(move || chain.account(&address)).await?.balance)
    }

    /// Everybody comes on: the bootstrap peer first, the requester last.
    pub(super) async fn start(&self, served: &Served, story: &Story) -> Result<Cast, Failure> {
        let bootstrap = self.player("bootstrap", &[], story).await?;
        let home = bootstrap.node.node().listen_addresses().await.map_err(DemoError::from)?;
        let mut providers = Vec::new();
        for (name, price) in PRICES {
            let mut provider = self.player(name, &home, story).await?;
            fund(self, &provider, PROVIDER_FUNDS).await?;
            let config = provide(price);
            let stake = ensure_stake(provider.node.desk(), &config, Network::Devnet).await?;
            story.staked(name, &stake, config.claims());
            let service = provider.node.provide(&config, settlement(stake.contract), std::slice::from_ref(served)).await?;
            (provider.service, provider.contract) = (Some(service), Some(stake.contract));
            providers.push(provider);
        }
        let requester = self.player("requester", &home, story).await?;
        fund(self, &requester, REQUESTER_FUNDS).await?;
        Ok(Cast { bootstrap, providers, requester })
    }

    async fn player(&self, name: &'static str, bootstrap: &[String], story: &Story) -> Result<Player, Failure> {
        let home = Home::at(self.root.join(name));
        let (keys, ledger) = blocking(move || {
            home.create()?;
            let keys = Keys::generate(Network::Devnet)?;
            keystore::create(&home.keystore_file(), &keys, &Protection::None)?;
            Ok::<_, Failure>((keys, home.ledger_file()))
        })
        .await?;
        let owner = Arc::new(keys.wallet()?);
        let network = NodeConfig {
            listen: vec!["/ip4/127.0.0.1/tcp/0".into(), "/ip4/127.0.0.1/udp/0/quic-v1".into()],
            bootstrap: bootstrap.to_vec(),
            kad: KadMode::Server,
            ..NodeConfig::default()
        };
        let pace = Pace { busy: BLOCK_TIME / 2, ..Pace::default() };
        let chain: Arc<dyn Chain> = self.chain.clone();
        let provider = Some(provider_terms(&keys, ProvideConfig::default().class, self.terms)?);
        let node = RunningNode::start(Parts { keys, ledger, chain, provider, network, pace }).await?;
        story.watch(name, &node);
        let addresses = node.node().listen_addresses().await.map_err(DemoError::from)?;
        story.player(name, node.key().node_id(), owner.address(), &addresses);
        Ok(Player { name, owner, node, service: None, contract: None })
    }

    /// Stops the chain.
    pub(super) fn strike(&self) {
        self.ticking.cancel();
    }
}

/// How a provider with this contract is paid.
const fn settlement(contract: ContractAddress) -> SettlementTerms {
    SettlementTerms {
        network: NetworkId::DEVNET,
        contract,
        challenge_window_s: cocoon_market::offer::CHALLENGE_WINDOW_S_MIN,
        deposit_min: Amount::from_nano(200_000_000),
    }
}

/// What a provider sells at this price for a million tokens written.
fn provide(output_per_mtok: u128) -> ProvideConfig {
    let price = Price {
        job: Amount::ZERO,
        input_per_mtok: Amount::from_nano(output_per_mtok / 4),
        output_per_mtok: Amount::from_nano(output_per_mtok),
    };
    ProvideConfig {
        price,
        capacity: Some(NonZeroU16::MIN),
        slice_tokens: SLICE_TOKENS,
        float: Amount::from_nano(50_000_000),
        ..ProvideConfig::default()
    }
}

impl Player {
    /// Its name in the story.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Its node.
    pub(super) const fn node(&self) -> &RunningNode {
        &self.node
    }

    /// Its wallet.
    pub(super) fn address(&self) -> Address {
        self.owner.address()
    }

    /// The wallet itself.
    pub(super) const fn owner(&self) -> &Arc<OwnerWallet> {
        &self.owner
    }

    /// Its contract, if it sells.
    pub(super) const fn contract(&self) -> Option<ContractAddress> {
        self.contract
    }

    /// Buys with its money, in a network of these terms.
    pub(super) fn buyer(&self, network: NetworkTerms) -> Buyer {
        let backing = Backing { network, stake_min: RequesterConfig::default().stake_min };
        let (client, payer) = self.node.client(DEPOSIT, backing);
        let config = RequesterConfig { deposit: DEPOSIT, ..RequesterConfig::default() };
        Buyer::new(client, payer, Arc::clone(self.node.desk()), config)
    }

    /// Stops selling, once running jobs have come to their end and their last vouchers are in.
    pub(super) async fn finish(&self) {
        if let Some(service) = &self.service {
            service.shutdown(Shutdown::Finish).await;
        }
    }
}

impl Cast {
    /// The provider with this key.
    pub(super) fn provider(&self, node: &NodeId) -> Option<&Player> {
        self.providers.iter().find(|provider| provider.node.key().node_id() == *node)
    }

    /// A provider with another key.
    pub(super) fn other_provider(&self, than: &NodeId) -> Option<&Player> {
        self.providers.iter().find(|provider| provider.node.key().node_id() != *than)
    }

    /// Those who sell.
    pub(super) fn providers(&self) -> &[Player] {
        &self.providers
    }

    /// Everybody with money.
    pub(super) fn players(&self) -> impl Iterator<Item = &Player> {
        std::iter::once(&self.requester).chain(&self.providers)
    }

    /// Everybody goes.
    pub(super) async fn leave(self) {
        for player in self.providers.into_iter().chain([self.requester, self.bootstrap]) {
            player.finish().await;
            player.node.shutdown(None, CancellationToken::new()).await;
        }
    }
}
