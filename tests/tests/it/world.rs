//! A devnet, providers and a requester, each a process with a home of its own, selling and buying the generated model.

use anyhow::{Context, Result};
use cocoon_tests::{Home, Line, Process, free_port, until};
use serde_json::Value;

/// A million tokens written cost so many TON: high, so that a slice is worth the gas of its claim.
pub(crate) const PRICE: &str = "400";

/// A chain in a process of its own.
pub(crate) struct Devnet {
    pub(crate) url: String,
    port: u16,
    home: Home,
    process: Process,
}

impl Devnet {
    pub(crate) fn start() -> Result<Self> {
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let home = Home::init(&url)?;
        let process = Self::run(&home, port)?;
        Ok(Self { url, port, home, process })
    }

    fn run(home: &Home, port: u16) -> Result<Process> {
        let mut process = home.start(&["devnet", "--listen", &format!("127.0.0.1:{port}"), "--block-time", "200ms"])?;
        process.event("ready")?;
        Ok(process)
    }

    /// A power cut.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts the chain again, from its disk.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.process = Self::run(&self.home, self.port)?;
        Ok(())
    }

    /// A line to it that can be cut.
    pub(crate) fn line(&self) -> Result<Line> {
        Line::to(self.port)
    }

    /// A new home with money.
    pub(crate) fn home(&self) -> Result<Home> {
        Self::home_at(&self.url)
    }

    /// A new home with money, that reaches a chain there.
    pub(crate) fn home_at(url: &str) -> Result<Home> {
        let home = Home::init(url)?;
        home.run(&["wallet", "deposit", "--faucet", "10"])?;
        Ok(home)
    }
}

/// A provider of the generated model.
pub(crate) struct Provider {
    pub(crate) home: Home,
    pub(crate) process: Process,
    pub(crate) address: String,
    price: &'static str,
}

impl Provider {
    /// Starts one, joined to the peers in `bootstrap`.
    pub(crate) fn start(devnet: &Devnet, price: &'static str, bootstrap: &[&str]) -> Result<Self> {
        Self::start_in(devnet.home()?, price, bootstrap)
    }

    /// Starts one in a home that was prepared for it.
    pub(crate) fn start_in(home: Home, price: &'static str, bootstrap: &[&str]) -> Result<Self> {
        // One slice costs 0.0128 TON: with two of them unpaid the provider stops, so a third receipt proves the first voucher.
        home.set("float_ton", "\"0.02\"")?;
        // With so large a float, agreements about more jobs at once would take up all the collateral.
        home.set("capacity", "1")?;
        let (process, address) = Self::run(&home, price, bootstrap)?;
        Ok(Self { home, process, address, price })
    }

    /// Starts one that sells the generated model of vectors, a million tokens read for so many TON.
    pub(crate) fn of_vectors(devnet: &Devnet, price: &'static str) -> Result<Self> {
        let home = devnet.home()?;
        let (process, address) = Self::sell(&home, &["--provide", "tiny-bert", "--price-input", price], &[])?;
        Ok(Self { home, process, address, price })
    }

    fn run(home: &Home, price: &str, bootstrap: &[&str]) -> Result<(Process, String)> {
        Self::sell(home, &["--provide", "tiny", "--price-input", "1", "--price-output", price], bootstrap)
    }

    fn sell(home: &Home, what: &[&str], bootstrap: &[&str]) -> Result<(Process, String)> {
        let listen = ["--listen", "/ip4/127.0.0.1/tcp/0"];
        let sell = [&["up", "--no-mdns", "--device", "cpu"], what].concat();
        let joined: Vec<&str> = bootstrap.iter().flat_map(|peer| ["--bootstrap", *peer]).collect();
        let mut process = home.start(&[&sell[..], &listen[..], &joined].concat())?;
        let ready = process.event("ready")?;
        let address = ready["addresses"][0].as_str().context("an address")?.to_owned();
        Ok((process, address))
    }

    /// Starts it again, from its disk.
    pub(crate) fn restart(&mut self) -> Result<()> {
        (self.process, self.address) = Self::run(&self.home, self.price, &[])?;
        Ok(())
    }
}

/// The arguments of a question that takes the generated model about a second to answer.
pub(crate) fn ask<'a>(bootstrap: &'a str, tokens: &'a str) -> Vec<&'a str> {
    vec!["ask", "--model", "tiny", "--no-mdns", "--bootstrap", bootstrap, "--max-tokens", tokens, "--cap", "0.9", "hello there"]
}

/// An amount that stands as text in an event.
pub(crate) fn nano(value: &Value) -> Result<u128> {
    value.as_str().with_context(|| format!("not an amount: {value}")).and_then(|text| Ok(text.parse()?))
}

/// What the wallet of a home holds.
pub(crate) fn balance(home: &Home) -> Result<u128> {
    let lines = home.json(&["wallet", "balance"])?;
    let line = lines.first().context("a balance")?;
    nano(&line["nanoton"])
}

/// What a wallet may spend on taking the messages that bring it money: gas of its own, some 0.00007 TON each.
pub(crate) const TAKING_NANOTON_MAX: u128 = 500_000;

/// What a home has got since it held `before`, once that is `least`: money comes to the wallet after its message is shown.
pub(crate) fn earned(home: &Home, before: u128, least: u128) -> Result<u128> {
    until("money comes to the wallet", || Ok(Some(balance(home)?.saturating_sub(before)).filter(|earned| *earned >= least)))
}

/// Waits until a home has earned its share since it held `before`, which is not to be more, and less only by what taking it costs.
pub(crate) fn await_share(home: &Home, before: u128, share: u128) -> Result<()> {
    let got = earned(home, before, share.saturating_sub(TAKING_NANOTON_MAX))?;
    anyhow::ensure!(got <= share, "{got} was earned, and the share is {share}");
    Ok(())
}
