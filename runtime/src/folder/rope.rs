//! Rotary frequencies: `rope_theta` and `rope_scaling`, or `rope_parameters`, which has both.

use super::FolderError;
use super::config::CONTEXT_MAX;
use super::json::Table;

/// Base of the rotary frequencies where the file does not say.
const BASE_DEFAULT: f64 = 10_000.0;

/// What is done to the rotary frequencies of a model that was stretched to a longer context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Nothing.
    None,
    /// All frequencies are divided by one factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Low frequencies are divided by a factor, high ones kept, those between blended.
    Llama3 {
        /// The factor.
        factor: f64,
        /// Waves longer than the original context over this are divided.
        low_freq_factor: f64,
        /// Waves shorter than the original context over this are kept; above `low_freq_factor`.
        high_freq_factor: f64,
        /// Positions that the model was first trained on (`original_max_position_embeddings`).
        original_context: usize,
    },
}

/// Base and scaling.
pub(super) fn read_rope(table: &Table<'_>) -> Result<(f64, RopeScaling), FolderError> {
    let joint = table.table("rope_parameters")?;
    let scaling = match joint {
        Some(joint) => Some(joint),
        None => table.table("rope_scaling")?,
    };
    let stated = match joint.map(|joint| joint.positive("rope_theta")).transpose()?.flatten() {
        Some(base) => Some(base),
        None => table.positive("rope_theta")?,
    };
    let scaling = scaling.map_or(Ok(RopeScaling::None), |scaling| read_scaling(&scaling))?;
    Ok((stated.unwrap_or(BASE_DEFAULT), scaling))
}

fn read_scaling(table: &Table<'_>) -> Result<RopeScaling, FolderError> {
    let key = if table.get("rope_type").is_some() { "rope_type" } else { "type" };
    match table.str(key)? {
        Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: table.required_positive("factor")? }),
        Some("llama3") => read_llama3(table),
        Some(_) => Err(table.unsupported(key, "default, linear or llama3")),
        None => Err(table.missing("rope_type")),
    }
}

fn read_llama3(table: &Table<'_>) -> Result<RopeScaling, FolderError> {
    const HIGH: &str = "high_freq_factor";
    let (low_freq_factor, high_freq_factor) = (table.required_positive("low_freq_factor")?, table.required_positive(HIGH)?);
    if high_freq_factor <= low_freq_factor {
        return Err(table.contradiction(HIGH, "it is above low_freq_factor"));
    }
    Ok(RopeScaling::Llama3 {
        factor: table.required_positive("factor")?,
        low_freq_factor,
        high_freq_factor,
        original_context: table.required_uint("original_max_position_embeddings", CONTEXT_MAX)?,
    })
}
