//! Prometheus metrics: recorded through the `metrics` macros anywhere in the workspace, rendered at `/metrics`.

use std::borrow::Cow;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use crate::failure::NextStep;

/// How often old samples of histograms are dropped: often enough that a busy node keeps a few thousand of them.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// Why metrics did not start.
#[derive(Debug, thiserror::Error)]
#[error("metrics could not be started")]
pub struct MetricsError(#[from] BuildError);

impl NextStep for MetricsError {
    fn next_step(&self) -> Cow<'static, str> {
        "start one node a process".into()
    }
}

/// Makes this process record metrics. Once a process.
///
/// # Errors
/// [`MetricsError`] when something records already.
pub fn install() -> Result<PrometheusHandle, MetricsError> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    metrics::describe_gauge!("swarm_build_info", "Constant 1, labelled with the version that runs.");
    metrics::gauge!("swarm_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// The route `/metrics`, to be merged into a server.
pub fn router(handle: PrometheusHandle) -> Router {
    let render = move || {
        let body = handle.render();
        async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body) }
    };
    Router::new().route("/metrics", get(render))
}

/// Keeps memory bounded while metrics are recorded; ends when cancelled. Run it as a task.
pub async fn upkeep(handle: PrometheusHandle, cancel: CancellationToken) {
    let mut tick = tokio::time::interval(UPKEEP_PERIOD);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            _ = tick.tick() => handle.run_upkeep(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_route_renders_what_was_recorded() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let app = router(recorder.handle());
        metrics::with_local_recorder(&recorder, || metrics::counter!("swarm_test_total").increment(3));

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let body = tokio::task::spawn_blocking(move || ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap()).await;
        server.abort();
        assert!(body.unwrap().contains("swarm_test_total 3"));
    }
}
