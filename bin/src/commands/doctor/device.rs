//! What there is to compute with: every graphics adapter by its position, and whether what is configured is to be had.

use cocoon_runtime::AdapterInfo;
use cocoon_runtime::device::{AdapterChoice, Device, DeviceChoice, adapters};
use serde::Serialize;

use super::{Finding, config_of};
use crate::context::Context;
use crate::output::bytes_text;
use crate::wiring::serving::ServeModelError;

const CHECK: &str = "device";

/// An adapter as programs read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct AdapterRow {
    position: usize,
    name: String,
    api: String,
    kind: &'static str,
    driver: String,
    tensor_bytes_max: u64,
}

impl From<&AdapterInfo> for AdapterRow {
    fn from(adapter: &AdapterInfo) -> Self {
        Self {
            position: adapter.position,
            name: adapter.name.clone(),
            api: adapter.api.clone(),
            kind: adapter.kind.name(),
            driver: adapter.driver.clone(),
            tensor_bytes_max: adapter.tensor_bytes_max,
        }
    }
}

/// Something computes, and it is what was asked for.
pub(super) fn check(context: &Context) -> Vec<Finding> {
    let provide = config_of(context).provide;
    findings(provide.device, &provide.adapters, &adapters())
}

fn findings(choice: DeviceChoice, chosen: &[AdapterChoice], there: &[AdapterInfo]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = there.iter().map(listed).collect();
    findings.extend(if chosen.is_empty() { configured(choice, there) } else { Some(picked(choice, chosen, there)) });
    findings
}

/// One adapter, under the position that `--adapter` takes.
fn listed(adapter: &AdapterInfo) -> Finding {
    let imitated = if adapter.kind.is_hardware() { "" } else { "; imitated or unknown, taken only when named" };
    let found = format!("adapter {}: {adapter}, tensors up to {}{imitated}", adapter.position, bytes_text(adapter.tensor_bytes_max));
    Finding { adapter: Some(adapter.into()), ..Finding::green(CHECK, found) }
}

/// The adapters that are chosen by name or position.
fn picked(choice: DeviceChoice, chosen: &[AdapterChoice], there: &[AdapterInfo]) -> Finding {
    match Device::choose(choice, chosen, there) {
        Ok(adapters) => {
            let names: Vec<_> = adapters.iter().map(|adapter| format!("{}: {adapter}", adapter.position)).collect();
            Finding::green(CHECK, format!("chosen: {}", names.join(", ")))
        }
        Err(error) => Finding::error(CHECK, ServeModelError::from(error)),
    }
}

/// What a choice without names comes to.
fn configured(choice: DeviceChoice, there: &[AdapterInfo]) -> Option<Finding> {
    let has_hardware = there.iter().any(|adapter| adapter.kind.is_hardware());
    let no_hardware = "a GPU's Vulkan, Metal or DX12 driver, if this machine has one; the processor works too";
    match (choice, has_hardware, there.first()) {
        (DeviceChoice::Cpu, _, _) => Some(Finding::green(CHECK, "the processor, as configured")),
        (DeviceChoice::Auto, false, None) => Some(Finding::yellow(CHECK, "no graphics adapter; the processor computes", no_hardware)),
        (DeviceChoice::Auto, false, Some(_)) => Some(Finding::yellow(CHECK, "only imitated adapters; the processor computes", no_hardware)),
        (DeviceChoice::Wgpu, false, None) => {
            let advice = "a Vulkan driver, or provide.device = \"auto\"";
            Some(Finding::red(CHECK, "provide.device is wgpu, and there is no adapter", advice))
        }
        (DeviceChoice::Wgpu, false, Some(_)) => {
            let advice = "provide.device = \"auto\", which takes the faster processor";
            Some(Finding::yellow(CHECK, "provide.device is wgpu, and there are only imitated adapters", advice))
        }
        (DeviceChoice::Auto | DeviceChoice::Wgpu, true, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Light;
    use super::*;

    #[test]
    fn adapters_are_listed_by_their_position_for_people_and_programs() {
        let there = adapters();
        let found = findings(DeviceChoice::Cpu, &[], &there);
        assert_eq!(found.len(), there.len() + 1);
        for (finding, adapter) in found.iter().zip(&there) {
            assert!(finding.found.contains(&format!("adapter {}: {}", adapter.position, adapter.name)), "{finding:?}");
            let json = serde_json::to_value(finding).unwrap();
            assert_eq!(json["adapter"]["position"], adapter.position);
            assert_eq!(json["adapter"]["name"], adapter.name.as_str());
        }
        assert!(serde_json::to_value(found.last().unwrap()).unwrap().get("adapter").is_none());
    }

    #[test]
    fn what_is_configured_and_not_there_is_told() {
        let light = |choice, chosen: &[&str]| {
            let chosen: Vec<AdapterChoice> = chosen.iter().map(|text| text.parse().unwrap()).collect();
            findings(choice, &chosen, &[]).pop().map(|finding| finding.light)
        };
        assert_eq!(light(DeviceChoice::Cpu, &[]), Some(Light::Green));
        assert_eq!(light(DeviceChoice::Auto, &[]), Some(Light::Yellow));
        assert_eq!(light(DeviceChoice::Wgpu, &[]), Some(Light::Red));
        assert_eq!(light(DeviceChoice::Auto, &["0"]), Some(Light::Red));
    }
}
