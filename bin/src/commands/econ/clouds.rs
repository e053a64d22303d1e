//! `swarm econ clouds`: what clouds take, from a list that is its owner's to edit.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use cocoon_market::amount::NANO;
use cocoon_market::{Amount, AmountError};
use serde::{Deserialize, Serialize};

use super::beyond;
use crate::config::text;
use crate::context::Context;
use crate::durable::{self, Existing, read_at_most};
use crate::failure::{Exit, Failure, NextStep};
use crate::output::{Table, ton_text};

/// The list in the home.
const FILE: &str = "cloud-prices.toml";

/// A list that people write stays far below it.
const BYTES_MAX: usize = 64 * 1024;

/// The list of this program.
const LIST: &str = include_str!("cloud-prices.toml");

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
enum CloudsError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is larger than {BYTES_MAX} bytes", .0.display())]
    Large(PathBuf),
    #[error("{} is no list of clouds", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("a TON is worth more than nothing")]
    Worthless,
}

impl NextStep for CloudsError {
    fn next_step(&self) -> Cow<'static, str> {
        match self {
            Self::Read { .. } | Self::Large(_) | Self::Parse { .. } => {
                "mend the file, or move it away: swarm econ clouds --write writes a good one".into()
            }
            Self::Write { path, .. } if path.exists() => "edit the list that is there; it was left as it is".into(),
            Self::Write { .. } => "check the disk, or --home another directory".into(),
            Self::Worthless => "--usd-per-ton 3".into(),
        }
    }

    fn exit(&self) -> Exit {
        if matches!(self, Self::Worthless) { Exit::Usage } else { Exit::Failed }
    }
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    cloud: Vec<Cloud>,
}

/// An hour of a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Cloud {
    name: String,
    gpu: String,
    /// Dollars for an hour of one.
    #[serde(rename(serialize = "nanodollars_per_hour"), deserialize_with = "text::parsed")]
    usd_per_hour: Amount,
    /// When that was so.
    as_of: String,
}

/// The list, and what a provider earns beside it.
#[derive(Debug, Serialize)]
struct Shown {
    /// Where the list is from; none for that of this program.
    file: Option<PathBuf>,
    clouds: Vec<Row>,
    /// What a provider earns in an hour at its price, all slots busy.
    provider_nanoton_per_hour: Option<Amount>,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    cloud: Cloud,
    nanoton_per_hour: Option<Amount>,
}

/// Runs it.
pub(super) fn run(context: &Context, usd_per_ton: Option<Amount>, provider: Option<(Amount, u32)>, write: bool) -> Result<(), Failure> {
    let file = context.home().root().join(FILE);
    if write {
        context.home().create()?;
        durable::write(&file, LIST.as_bytes(), Existing::Keep).map_err(|source| CloudsError::Write { path: file.clone(), source })?;
    }
    let (file, list) = read(&file)?;
    let row = |cloud: Cloud| {
        let nanoton_per_hour = usd_per_ton.map(|usd| in_ton(cloud.usd_per_hour, usd)).transpose()?;
        Ok::<_, Failure>(Row { cloud, nanoton_per_hour })
    };
    let clouds = list.cloud.into_iter().map(row).collect::<Result<_, _>>()?;
    let provider_nanoton_per_hour = provider.map(|(price, rate)| earned(price, rate)).transpose().map_err(beyond)?;
    context.out().result(&Shown { file, clouds, provider_nanoton_per_hour }, Shown::text);
    Ok(())
}

/// The home's list, or that of this program where the home has none.
fn read(file: &Path) -> Result<(Option<PathBuf>, List), CloudsError> {
    let failed = |source| CloudsError::Read { path: file.to_owned(), source };
    let text = match read_at_most(file, BYTES_MAX) {
        Ok(bytes) if bytes.len() > BYTES_MAX => return Err(CloudsError::Large(file.to_owned())),
        Ok(bytes) => Some(String::from_utf8(bytes).map_err(|_| failed(std::io::ErrorKind::InvalidData.into()))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let parsed = toml::from_str(text.as_deref().unwrap_or(LIST));
    let list = parsed.map_err(|source| CloudsError::Parse { path: file.to_owned(), source })?;
    Ok((text.map(|_| file.to_owned()), list))
}

fn in_ton(usd: Amount, usd_per_ton: Amount) -> Result<Amount, Failure> {
    let product = usd.nano().checked_mul(NANO).ok_or(AmountError::Overflow).map_err(beyond)?;
    Ok(product.checked_div(usd_per_ton.nano()).map(Amount::from_nano).ok_or(CloudsError::Worthless)?)
}

/// What so many tokens a second earn in an hour at a price for a million.
fn earned(price: Amount, tokens_per_s: u32) -> Result<Amount, AmountError> {
    let hour = price.checked_mul(u64::from(tokens_per_s).saturating_mul(3_600))?;
    Ok(Amount::from_nano(hour.nano() / 1_000_000))
}

impl Shown {
    fn text(&self) -> String {
        let mut table = Table::new(["cloud", "GPU", "dollars an hour", "TON an hour", "as of"]).right([2, 3]);
        for Row { cloud, nanoton_per_hour } in &self.clouds {
            let ton = nanoton_per_hour.map_or_else(|| "-".to_owned(), |ton| ton.to_string());
            table.row([cloud.name.clone(), cloud.gpu.clone(), cloud.usd_per_hour.to_string(), ton, cloud.as_of.clone()]);
        }
        let mut lines = vec![table.to_string()];
        if let Some(earned) = self.provider_nanoton_per_hour {
            lines.push(format!("A provider that is busy all the time earns {} in an hour, before the network's fee.", ton_text(earned)));
        }
        lines.push(match &self.file {
            Some(file) => format!("The list is that of {}.", file.display()),
            None => "The list is that of this program; --write puts it into the home, to be edited.".to_owned(),
        });
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_this_program_is_read_and_another_wins() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(FILE);
        let (from, list) = read(&file).unwrap();
        assert!(from.is_none() && list.cloud.len() >= 4);
        std::fs::write(&file, "[[cloud]]\nname = \"mine\"\ngpu = \"H100\"\nusd_per_hour = \"2.5\"\nas_of = \"2026\"\n").unwrap();
        let (from, list) = read(&file).unwrap();
        assert_eq!((from, list.cloud[0].usd_per_hour.nano()), (Some(file.clone()), 2_500_000_000));
        for broken in ["[[cloud]]\nname = 1", "no list at all"] {
            std::fs::write(&file, broken).unwrap();
            let error = read(&file).unwrap_err();
            assert!(matches!(error, CloudsError::Parse { .. }) && error.next_step().contains("mend"), "{error}");
        }
        std::fs::write(&file, vec![b'#'; BYTES_MAX + 1]).unwrap();
        assert!(matches!(read(&file), Err(CloudsError::Large(_))));
    }

    #[test]
    fn dollars_and_tokens_become_ton_an_hour() {
        let nano = |milli: u128| Amount::from_nano(milli * 1_000_000);
        assert_eq!(in_ton(nano(3_000), nano(1_500)).unwrap(), nano(2_000));
        assert!(in_ton(nano(3_000), Amount::ZERO).is_err());
        assert_eq!(earned(nano(400), 50), Ok(nano(72)));
    }
}
