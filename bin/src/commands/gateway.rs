//! `swarm gateway`: the OpenAI-compatible API, answered by the swarm.

use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::cli::GatewayArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::metrics;
use crate::output::Tone;
use crate::signals::StopSignals;
use crate::wiring::answering::SwarmBackend;
use crate::wiring::session::{Addresses, Part, Session};

/// What a gateway says when it is ready.
#[derive(Serialize)]
struct Ready {
    base_url: String,
    default_model: String,
}

/// Runs `swarm gateway` until the process is asked to stop.
///
/// # Errors
/// Whatever the node or the gateway does not start for.
pub async fn run(context: &Context, args: &GatewayArgs) -> Result<(), Failure> {
    let recorder = metrics::install()?;
    let stop = CancellationToken::new();
    tokio::spawn(metrics::upkeep(recorder.clone(), stop.clone()));
    let settings = context.config()?.gateway;
    let gateway = Gateway::bind(args.listen.unwrap_or(settings.listen), settings.token).await?;
    let address = gateway.address()?;
    let addresses = Addresses { bootstrap: args.bootstrap.clone(), no_mdns: args.no_mdns, ..Addresses::default() };
    let session = Session::open(context, Part::Visitor, addresses).await?;
    let backend = Arc::new(SwarmBackend::new(session.buyer()?, context.clone(), session.config.clone()));
    let ready = Ready { base_url: format!("http://{address}/v1"), default_model: session.config.requester.model.clone() };
    let mut signals = StopSignals::listen();
    context.out().event("ready", &ready, |ready| {
        let heading = context.out().paint(Tone::Strong, "The gateway is up.");
        let usage = format!("  OPENAI_BASE_URL={} OPENAI_API_KEY=none python my_script.py", ready.base_url);
        format!("{heading}\n  base URL       {}\n  default model  {}\n\n{usage}", ready.base_url, ready.default_model)
    });
    let serve = gateway.serve(backend, metrics::router(recorder), stop.clone());
    let served = tokio::select! {
        biased;
        () = ask_twice(context, &mut signals, &stop) => Ok(()),
        served = serve => served,
    };
    stop.cancel();
    session.close(None, CancellationToken::new()).await;
    Ok(served?)
}

/// Asked to stop, it takes no more chats; asked again, it leaves those that still run.
async fn ask_twice(context: &Context, signals: &mut StopSignals, stop: &CancellationToken) {
    signals.requested().await;
    context.out().note("stopping: letting chats end; Ctrl-C again ends them");
    stop.cancel();
    signals.requested().await;
}
