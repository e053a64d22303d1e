//! `swarm up`: a node that stays, and sells work if told to.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use cocoon_market::{Amount, ModelId};
use cocoon_p2p::{Provider, peer_text};
use cocoon_runtime::{Device, DeviceChoice};
use cocoon_settlement::chain::{Address, Bounce};
use cocoon_settlement::settler::{ClaimPolicy, ProviderView};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::blocking;
use crate::cli::UpArgs;
use crate::config::{Config, ModelConfig, ProvideConfig, TermsError};
use crate::context::Context;
use crate::failure::{Failure, NextStep};
use crate::gateway::Gateway;
use crate::metrics;
use crate::output::{Tone, percent_text, ton_text};
use crate::signals::StopSignals;
use crate::wiring::answering::SwarmBackend;
use crate::wiring::placement::Placement;
use crate::wiring::serving::{ServeModelError, Served};
use crate::wiring::session::{Addresses, Part, Session, ensure_model};

/// Why the metrics are not served.
#[derive(Debug, thiserror::Error)]
enum MetricsServerError {
    #[error("cannot serve metrics on {listen}")]
    Listen {
        listen: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

impl NextStep for MetricsServerError {
    fn next_step(&self) -> Cow<'static, str> {
        "another address, such as --metrics 127.0.0.1:9465".into()
    }
}

/// What a node says when it is ready.
#[derive(Serialize)]
struct Ready {
    peer: String,
    node: cocoon_market::NodeId,
    wallet: String,
    network: &'static str,
    addresses: Vec<String>,
    models: Vec<String>,
    #[serde(flatten)]
    selling: Option<Selling>,
}

/// What stands behind what is sold, and when it is claimed.
#[derive(Serialize)]
struct Selling {
    contract: String,
    stake_nanoton: Amount,
    bond_nanoton: Amount,
    operations_nanoton: Amount,
    claim_fee_bps_max: u16,
    undrawn_max_nanoton: Amount,
}

impl Selling {
    fn new(config: &ProvideConfig, stake: &ProviderView) -> Self {
        let ClaimPolicy { fee_bps_max, undrawn_max } = config.claims();
        Self {
            contract: Address::from(stake.contract).friendly(Bounce::Yes),
            stake_nanoton: stake.data.stake.standing(),
            bond_nanoton: stake.data.stake.bond,
            operations_nanoton: stake.operations(),
            claim_fee_bps_max: fee_bps_max,
            undrawn_max_nanoton: undrawn_max,
        }
    }

    fn lines(&self) -> [String; 3] {
        [
            format!("  contract {}", self.contract),
            format!(
                "  stake    {}, liveness bond {}, operations {}",
                ton_text(self.stake_nanoton),
                ton_text(self.bond_nanoton),
                ton_text(self.operations_nanoton)
            ),
            format!(
                "  claims   when the chain's fees are at most {} of it, or more than {} is not drawn",
                percent_text(self.claim_fee_bps_max),
                ton_text(self.undrawn_max_nanoton)
            ),
        ]
    }
}

/// Runs `swarm up` until the process is asked to stop.
///
/// # Errors
/// Whatever the node does not start for.
pub async fn run(context: &Context, args: &UpArgs) -> Result<(), Failure> {
    let recorder = metrics::install()?;
    let stop = CancellationToken::new();
    tokio::spawn(metrics::upkeep(recorder.clone(), stop.clone()));
    let served = load_models(context, args).await?;
    let addresses = Addresses {
        listen: args.listen.clone(),
        bootstrap: args.bootstrap.clone(),
        external: args.external.clone(),
        no_mdns: args.no_mdns,
    };
    let gateway = match args.gateway {
        Some(listen) => Some(Gateway::bind(listen, context.config()?.gateway.token).await?),
        None => None,
    };
    let session = Session::open(context, Part::Resident, addresses).await?;
    let gateway = match gateway {
        Some(gateway) => Some(tokio::spawn(answer(gateway, context, &session, stop.clone())?)),
        None => None,
    };
    let listen = args.metrics.or(session.config.node.metrics);
    if let Some(listen) = listen {
        serve_metrics(listen, metrics::router(recorder), stop.clone()).await?;
    }
    let addresses = session.node.node().listen_addresses().await.unwrap_or_default();
    let config = overridden(&session.config, args);
    let (provider, stake) = provide(&session, &config, &served).await?.unzip();
    let mut signals = StopSignals::listen();
    let selling = stake.as_ref().map(|stake| Selling::new(&config.provide, stake));
    tell_ready(context, &session, &config.provide, addresses, &served, selling);
    signals.requested().await;
    context.out().note("stopping: withdrawing offers, letting jobs end, claiming; Ctrl-C again ends at once");
    let hurry = CancellationToken::new();
    let second = hurry.clone();
    tokio::spawn(async move {
        signals.requested().await;
        second.cancel();
    });
    stop.cancel();
    if let Some(gateway) = gateway {
        // What it was answering is paid before the ledger is closed; a panic in it has been told.
        tokio::select! {
            biased;
            () = hurry.cancelled() => {}
            _ = gateway => {}
        }
    }
    session.close(provider, hurry).await;
    Ok(())
}

/// Serves the OpenAI-compatible API until told to stop.
fn answer(
    gateway: Gateway,
    context: &Context,
    session: &Session,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + use<>, TermsError> {
    let backend = Arc::new(SwarmBackend::new(session.buyer()?, context.clone(), session.config.clone()));
    Ok(async move {
        if let Err(error) = gateway.serve(backend, Router::new(), stop).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the gateway is no longer served");
        }
    })
}

/// The configuration with what the command line says above it.
fn overridden(config: &Config, args: &UpArgs) -> Config {
    let mut config = config.clone();
    let provide = &mut config.provide;
    provide.price.input_per_mtok = args.price_input.unwrap_or(provide.price.input_per_mtok);
    provide.price.output_per_mtok = args.price_output.unwrap_or(provide.price.output_per_mtok);
    if let Some(device) = args.device {
        provide.device = device;
        if device == DeviceChoice::Cpu {
            provide.adapters.clear();
        }
    }
    if !args.adapter.is_empty() {
        provide.adapters.clone_from(&args.adapter);
        // Who names an adapter means it, whatever the configuration says; who names the processor beside it is told.
        provide.device = args.device.unwrap_or(DeviceChoice::Wgpu);
    }
    provide.threads = args.threads.or(provide.threads);
    provide.memory_mib = args.memory.unwrap_or(provide.memory_mib);
    provide.reuse &= !args.no_reuse;
    provide.capacity = args.capacity.or(provide.capacity);
    for name in &args.provide {
        if !provide.models.iter().any(|model| model.name.eq_ignore_ascii_case(name)) {
            provide.models.push(ModelConfig { name: name.clone(), price: None });
        }
    }
    config
}

/// Fetches and loads what is to be sold, before the node promises it to anybody.
async fn load_models(context: &Context, args: &UpArgs) -> Result<Vec<Served>, Failure> {
    let (context, args) = (context.clone(), args.clone());
    blocking(move || {
        let config = overridden(&context.config()?, &args);
        config.check()?;
        let models = &config.provide.models;
        if models.is_empty() {
            return Ok(Vec::new());
        }
        let here = models.iter().map(|model| ensure_model(&context, &config, &model.name)).collect::<Result<Vec<_>, _>>()?;
        place_models(&context, &config.provide, &here)
    })
    .await
}

/// Loads models onto the devices that are configured.
fn place_models(context: &Context, config: &ProvideConfig, models: &[(ModelId, String, PathBuf)]) -> Result<Vec<Served>, Failure> {
    let devices = Device::open_all(config.device, &config.adapters).map_err(ServeModelError::from)?;
    let devices: Vec<Device> = devices.into_iter().map(|device| config.on(device)).collect();
    let load = |(id, name, path): &(ModelId, String, PathBuf), device: &Device| {
        context.out().note(&format!("loading {name} on {device}"));
        let served = Served::load(*id, name, path, device).inspect_err(|error| {
            if error.is_for_room() {
                tracing::warn!(error = error as &dyn std::error::Error, model = name, %device, "this device has no room for the model");
            }
        })?;
        let bytes = served.adapter_bytes();
        Ok::<_, ServeModelError>((served, bytes))
    };
    let mut placement = Placement::new(devices);
    let placed = models.iter().map(|model| placement.place(|device| load(model, device), ServeModelError::is_for_room));
    let mut served = placed.collect::<Result<Vec<_>, _>>()?;
    served.extend(placement.copies(models.len(), |model, device| load(&models[model], device), ServeModelError::is_for_room)?);
    Ok(served)
}

async fn provide(session: &Session, config: &Config, served: &[Served]) -> Result<Option<(Provider, ProviderView)>, Failure> {
    if served.is_empty() {
        return Ok(None);
    }
    Ok(Some(session.provide(&config.provide, served).await?))
}

async fn serve_metrics(listen: SocketAddr, router: Router, stop: CancellationToken) -> Result<(), Failure> {
    let failed = |source| MetricsServerError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    Ok(())
}

/// A copy of a model in a line: what it is and where, and how fast and for how many it works.
fn sold(config: &ProvideConfig, model: &Served) -> String {
    let (device, capacity) = (model.model.device(), model.capacity(config, 1));
    format!("{} on {device} ({} tokens/s, up to {capacity} jobs at once)", model.name, model.tokens_per_s)
}

fn tell_ready(
    context: &Context,
    session: &Session,
    provide: &ProvideConfig,
    addresses: Vec<String>,
    served: &[Served],
    selling: Option<Selling>,
) {
    let ready = Ready {
        peer: peer_text(&session.node.node().peer_id()),
        node: session.node.key().node_id(),
        wallet: Address::from(session.wallet).friendly(Bounce::No),
        network: session.config.chain.network.name(),
        addresses,
        models: served.iter().map(|model| sold(provide, model)).collect(),
        selling,
    };
    context.out().event("ready", &ready, |ready| {
        let mut lines = vec![
            context.out().paint(Tone::Strong, "The node is up."),
            format!("  node     {}", ready.node),
            format!("  wallet   {} ({})", ready.wallet, ready.network),
        ];
        lines.extend(ready.models.iter().map(|model| format!("  sells    {model}")));
        lines.extend(ready.selling.iter().flat_map(Selling::lines));
        lines.extend(ready.addresses.iter().map(|address| format!("  listens  {address}")));
        lines.push("\nOthers join with --bootstrap and one of these addresses; Ctrl-C stops the node.".to_owned());
        lines.join("\n")
    });
}
