//! What a person may ask for: a kind of device, and adapters by place or name.

use std::fmt;
use std::str::FromStr;

use super::DeviceError;
use super::adapter::AdapterInfo;

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A hardware adapter if there is one, else the CPU.
    #[default]
    Auto,
    /// The best wgpu adapter, be it software.
    Wgpu,
    /// The CPU.
    Cpu,
}

/// A word that is no [`DeviceChoice`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown device {name:?}, expected auto, wgpu or cpu")]
pub struct UnknownDevice {
    /// The word.
    pub name: String,
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        match name {
            "auto" => Ok(Self::Auto),
            "wgpu" => Ok(Self::Wgpu),
            "cpu" => Ok(Self::Cpu),
            name => Err(UnknownDevice { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Wgpu => "wgpu",
            Self::Cpu => "cpu",
        })
    }
}

/// An adapter as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdapterChoice {
    /// By its place in the list, from 0.
    Position(usize),
    /// By a part of its name, in whichever case.
    Name(String),
}

/// A text that names no adapter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an adapter is named by its position in the list or by a part of its name, not by nothing")]
pub struct NoAdapterNamed;

impl FromStr for AdapterChoice {
    type Err = NoAdapterNamed;

    fn from_str(text: &str) -> Result<Self, NoAdapterNamed> {
        match text.trim() {
            "" => Err(NoAdapterNamed),
            text => Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Position)),
        }
    }
}

impl fmt::Display for AdapterChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => position.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl AdapterChoice {
    /// The one adapter that is meant. Who gives a whole name means that one, although it may be a part
    /// of others.
    ///
    /// # Errors
    ///
    /// [`DeviceError`] with the adapters that there are, when none or several fit.
    pub(super) fn pick<'a>(&self, there: &'a [AdapterInfo]) -> Result<&'a AdapterInfo, DeviceError> {
        let fitting: Vec<&AdapterInfo> = match self {
            Self::Position(position) => there.get(*position).into_iter().collect(),
            Self::Name(name) => {
                let name = name.to_lowercase();
                let named = |fits: &dyn Fn(&str) -> bool| there.iter().filter(|adapter| fits(&adapter.name.to_lowercase())).collect();
                let whole: Vec<_> = named(&|its| its == name);
                if whole.is_empty() { named(&|its| its.contains(&name)) } else { whole }
            }
        };
        let asked = || self.to_string();
        match fitting[..] {
            [adapter] => Ok(adapter),
            [] if there.is_empty() => Err(DeviceError::NoAdapter),
            [] => Err(DeviceError::UnknownAdapter { asked: asked(), there: Listed(there.to_vec()) }),
            _ => Err(DeviceError::AmbiguousAdapter { asked: asked(), fitting: Listed(fitting.into_iter().cloned().collect()) }),
        }
    }
}

/// Adapters, listed in an error for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed(pub Vec<AdapterInfo>);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |adapter: &AdapterInfo| format!("{}: {adapter}", adapter.position);
        f.write_str(&self.0.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::adapter::{AdapterKind, imagined};
    use super::*;

    #[test]
    fn words_and_choices_correspond() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Wgpu, DeviceChoice::Cpu] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("cuda".parse::<DeviceChoice>(), Err(UnknownDevice { name: "cuda".into() }));
        for (text, choice) in
            [("0", AdapterChoice::Position(0)), (" 12 ", AdapterChoice::Position(12)), ("RX 7900", AdapterChoice::Name("RX 7900".into()))]
        {
            assert_eq!(text.parse(), Ok(choice));
        }
        assert_eq!(" ".parse::<AdapterChoice>(), Err(NoAdapterNamed));
    }

    fn there() -> Vec<AdapterInfo> {
        let names = ["Radeon RX 7900 XT", "Radeon RX 7900 XTX", "GeForce RTX 4090", "GeForce RTX 4090", "llvmpipe (LLVM 19, 256 bits)"];
        names.iter().enumerate().map(|(at, name)| imagined(at, AdapterKind::Discrete, name)).collect()
    }

    fn picked(text: &str) -> Result<usize, DeviceError> {
        text.parse::<AdapterChoice>().unwrap().pick(&there()).map(|adapter| adapter.position)
    }

    #[test]
    fn adapters_are_named_by_place_or_by_a_part_of_the_name() {
        for (text, position) in [("3", 3), ("LLVMpipe", 4), ("xtx", 1), ("radeon rx 7900 xt", 0)] {
            assert_eq!(picked(text).unwrap(), position, "{text}");
        }
    }

    #[test]
    fn what_fits_none_or_several_is_an_error_that_lists_them() {
        for text in ["5", "arc"] {
            let error = picked(text).unwrap_err();
            let DeviceError::UnknownAdapter { there, .. } = &error else { panic!("{error}") };
            assert_eq!(there.0.len(), 5);
            assert!(error.to_string().contains("2: GeForce RTX 4090 (Vulkan, Discrete)"), "{error}");
        }
        for (text, many) in [("rtx", 2), ("GeForce RTX 4090", 2), ("r", 4)] {
            let error = picked(text).unwrap_err();
            assert!(matches!(&error, DeviceError::AmbiguousAdapter { fitting, .. } if fitting.0.len() == many), "{error}");
        }
        assert!(matches!(AdapterChoice::Position(0).pick(&[]), Err(DeviceError::NoAdapter)));
    }
}
