//! The commands that buy, sell and prove work.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use cocoon_market::{Amount, NodeId};
use cocoon_runtime::device::{AdapterChoice, DeviceChoice};

/// Options of `swarm up`. What is given here stands above the configuration.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm up                                        a peer that helps others find each other
  swarm up --provide smollm2-135m-instruct        sell a model at the configured price
  swarm up --provide smollm2-135m-instruct --price-output 0.08 --device cpu
  swarm up --provide smollm2-135m-instruct --memory 4096 --threads 8 --capacity 32
  swarm up --provide smollm2-135m-instruct --adapter 0 --adapter \"rx 7900\"   on two graphics adapters
  swarm up --listen /ip4/0.0.0.0/tcp/4001 --bootstrap /ip4/203.0.113.7/tcp/4001/p2p/12D3Koo...
  swarm up --gateway 127.0.0.1:8080               also the OpenAI-compatible API, for this machine
  swarm up --metrics 127.0.0.1:9464               Prometheus metrics at /metrics

Ctrl-C withdraws the offers, lets running jobs finish and claims what is owed; a second Ctrl-C ends at once.")]
pub struct UpArgs {
    /// Sell this model; again for more
    #[arg(long, value_name = "MODEL")]
    pub provide: Vec<String>,
    /// Listen here, as a multiaddress; again for more
    #[arg(long, value_name = "MULTIADDR")]
    pub listen: Vec<String>,
    /// Join through this peer, as a multiaddress that ends in /p2p/PEER; again for more
    #[arg(long, value_name = "MULTIADDR")]
    pub bootstrap: Vec<String>,
    /// Announce this address beside those that peers observe; again for more
    #[arg(long, value_name = "MULTIADDR")]
    pub external: Vec<String>,
    /// Do not look for peers on the local network
    #[arg(long)]
    pub no_mdns: bool,
    /// Price of a million tokens read, in TON, for models without a configured price
    #[arg(long, value_name = "TON")]
    pub price_input: Option<Amount>,
    /// Price of a million tokens written, in TON, for models without a configured price
    #[arg(long, value_name = "TON")]
    pub price_output: Option<Amount>,
    /// What computes: auto, wgpu or cpu
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// Graphics adapter that computes, by its position in swarm doctor's list or a part of its name; again for more
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: Vec<AdapterChoice>,
    /// Threads that compute on the processor
    #[arg(long, value_name = "THREADS")]
    pub threads: Option<NonZeroU16>,
    /// Memory for the keys and values of each model that writes, in MiB
    #[arg(long, value_name = "MIB")]
    pub memory: Option<NonZeroU32>,
    /// Read every prompt from its beginning, whatever was read before
    #[arg(long)]
    pub no_reuse: bool,
    /// Jobs served at once
    #[arg(long, value_name = "JOBS")]
    pub capacity: Option<NonZeroU16>,
    /// Also serve the OpenAI-compatible API here, paid by this node
    #[arg(long, value_name = "ADDR")]
    pub gateway: Option<SocketAddr>,
    /// Serve Prometheus metrics here
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
}

/// Options of `swarm ask`. What is given here stands above the configuration.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm ask \"Why is the sky blue?\"
  swarm ask --model smollm2-135m-instruct --temperature 0.7 --seed 7 --max-tokens 200 \"Tell me a story\"
  echo \"Summarise: ...\" | swarm ask -
  swarm ask --raw \"Once upon a time\"              no chat template: the model continues the text
  swarm ask --json \"Hi\"                           every step as JSON, with token ids
  swarm ask --cap 0.01 \"Hi\"                       never pay more than 0.01 TON for this job

The answer goes to stdout, everything else to stderr.")]
pub struct AskArgs {
    /// What to ask ("-" reads it from stdin)
    pub prompt: String,
    /// Instruction that stands before the prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub system: Option<String>,
    /// Randomness: 0 always takes the likeliest token
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    pub temperature: f32,
    /// Sample among the likeliest K tokens only; 0 takes all
    #[arg(long, default_value_t = 0, value_name = "K")]
    pub top_k: u32,
    /// Sample among the likeliest tokens that together have this probability
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    pub top_p: f32,
    /// Seed of the sampling [default: random]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Most tokens to write
    #[arg(long, default_value_t = 256, value_name = "TOKENS")]
    pub max_tokens: u32,
    /// Stop before this text; again for more
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Send the prompt as it is, without the model's chat template
    #[arg(long)]
    pub raw: bool,
    /// What is bought, of whom and for how much
    #[command(flatten)]
    pub purchase: PurchaseArgs,
}

/// Options of `swarm embed`. What is given here stands above the configuration.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm embed \"The bees dance.\" \"Bees fly in figures.\"   their vectors, and how near they are to each other
  swarm embed --file sentences.txt                        one text a line
  cut -f2 notes.tsv | swarm embed --json > vectors.jsonl   one JSON value a line, with all elements
  swarm embed --model all-minilm-l6-v2 --cap 0.01 \"Hi\"    never pay more than 0.01 TON
  swarm embed --dry-run \"Hi\"                              who would do it, and for how much

Vectors go to stdout, everything else to stderr. A text longer than the model reads is refused, not cut.")]
pub struct EmbedArgs {
    /// Texts; none: one a line from stdin
    #[arg(value_name = "TEXT")]
    pub texts: Vec<String>,
    /// Read texts from this file, one a line; empty lines are left out
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    pub file: Option<PathBuf>,
    /// What is bought, of whom and for how much
    #[command(flatten)]
    pub purchase: PurchaseArgs,
}

/// What every purchase can be told.
#[derive(Clone, Debug, Args)]
pub struct PurchaseArgs {
    /// Which model
    #[arg(long, short, value_name = "MODEL")]
    pub model: Option<String>,
    /// Only from this provider
    #[arg(long, value_name = "NODE")]
    pub provider: Option<NodeId>,
    /// Most to pay, in TON
    #[arg(long, value_name = "TON")]
    pub cap: Option<Amount>,
    /// Join through this peer; again for more
    #[arg(long, value_name = "MULTIADDR")]
    pub bootstrap: Vec<String>,
    /// Do not look for peers on the local network
    #[arg(long)]
    pub no_mdns: bool,
    /// Seconds to look for offers before giving up
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    pub wait: u64,
    /// Do not pay: show which offer would win, and why
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `swarm offers`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm offers                                  what is offered, best first
  swarm offers --model smollm2-135m-instruct
  swarm offers --watch                          keep printing as offers come and go")]
pub struct OffersArgs {
    /// Only this model
    #[arg(long, short, value_name = "MODEL")]
    pub model: Option<String>,
    /// Seconds to listen before printing
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub wait: u64,
    /// Keep running and print every change
    #[arg(long)]
    pub watch: bool,
    /// Join through this peer; again for more
    #[arg(long, value_name = "MULTIADDR")]
    pub bootstrap: Vec<String>,
    /// Do not look for peers on the local network
    #[arg(long)]
    pub no_mdns: bool,
}

/// What `swarm jobs` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum JobsCommand {
    /// List jobs, newest first
    #[command(after_help = "Examples:
  swarm jobs ls
  swarm jobs ls --limit 100 --json")]
    Ls {
        /// Most jobs to list
        #[arg(long, default_value_t = 20, value_name = "JOBS")]
        limit: usize,
    },
    /// Show one job: agreement, usage, receipts, payment
    #[command(after_help = "Examples:
  swarm jobs show 5f0c9a...      the beginning of the id is enough")]
    Show {
        /// Its id, or the beginning of it
        job: String,
    },
}

/// What `swarm channels` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum ChannelsCommand {
    /// List channels, newest first: what was deposited, paid by voucher, and drawn on chain
    #[command(after_help = "Examples:
  swarm channels ls
  swarm channels ls --look          look at each one on the chain first; a node that runs does so by itself
  swarm channels ls --all --json    those that are closed, too")]
    Ls {
        /// Also those that are closed
        #[arg(long)]
        all: bool,
        /// Look at each one on the chain first
        #[arg(long)]
        look: bool,
        /// Most channels to list
        #[arg(long, default_value_t = 50, value_name = "CHANNELS")]
        limit: usize,
    },
    /// Show one channel: terms, money, vouchers, what was asked of the chain
    #[command(after_help = "Examples:
  swarm channels show 9b41c2...      the beginning of the address is enough")]
    Show {
        /// Its address, or the beginning of it
        channel: String,
    },
    /// Close a channel of this requester without its provider: the challenge window begins
    #[command(after_help = "Examples:
  swarm channels close 9b41c2...
  swarm channels close 9b41c2... --dry-run     show the message, what it costs and what would change

The provider has the challenge window, at least a day but on a devnet, to claim what vouchers pay it. After it,
`swarm channels finish` takes back the rest; a node of this home that runs does so by itself.")]
    Close(EndArgs),
    /// Take back what is left of a closing channel, after its challenge window
    #[command(after_help = "Examples:
  swarm channels finish 9b41c2...
  swarm channels finish 9b41c2... --dry-run    show the message, what it costs and what would change")]
    Finish(EndArgs),
}

/// Options of `swarm channels close` and `swarm channels finish`.
#[derive(Clone, Debug, Args)]
pub struct EndArgs {
    /// Its address, or the beginning of it
    pub channel: String,
    /// Build and show the message, send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Seconds to wait until the chain has it; 0 does not wait
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub wait: u64,
}

/// Options of `swarm audit`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm audit                       what is owed to this node and by it, with each counterparty and in total
  swarm audit --look                look at each channel on the chain first; a node that runs does so by itself
  swarm audit --csv books.csv       one line a channel, for a spreadsheet
  swarm audit --csv - | head -3
  swarm audit --json | jq .as_provider

Every nanoton is in one place of each line:
  receipted    = not paid + (waiting + in batch + settled + disputed), which vouchers pay
  deposited    = settled + refunded + held
Not paid: no voucher came yet. Waiting: a voucher pays it, and nobody asked the chain. In batch: the chain was asked.
Settled: drawn. Disputed: a voucher pays it, and the chain will not. Receipts are read one by one and summed anew.

Exits 1 if the books of a channel do not sum, or are older than what was signed in it, and names the channel.")]
pub struct AuditArgs {
    /// Also write one line a channel, with amounts in whole nanoton, into this file; - prints them instead
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Look at each channel on the chain first
    #[arg(long)]
    pub look: bool,
}

/// What `swarm dossier` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum DossierCommand {
    /// Write the evidence of a job into one file
    #[command(after_help = "Examples:
  swarm dossier export 5f0c9a... -o job.dossier")]
    Export {
        /// Id of the job, or the beginning of it
        job: String,
        /// File to write [default: in the home]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check the evidence in a file: signatures, sums, links. Needs no network and no keys
    #[command(after_help = "Examples:
  swarm dossier verify job.dossier
  swarm dossier verify job.dossier --json")]
    Verify {
        /// The file
        file: PathBuf,
    },
}

/// Options of `swarm gateway`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm gateway                              http://127.0.0.1:8080/v1
  swarm gateway --listen 127.0.0.1:9000
  OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none python my_script.py

It spends this node's money for everyone who can reach it: keep it on loopback, or set gateway.token in the configuration.")]
pub struct GatewayArgs {
    /// Where to serve
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Join through this peer; again for more
    #[arg(long, value_name = "MULTIADDR")]
    pub bootstrap: Vec<String>,
    /// Do not look for peers on the local network
    #[arg(long)]
    pub no_mdns: bool,
}

/// Options of `swarm demo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  swarm demo                                    fetches a small model once (98 MB), then about a minute
  swarm demo --prompt \"What is a swarm?\" --device cpu
  swarm demo --keep /tmp/demo                   keep the keys, ledgers, chain and dossier
  swarm demo --json                             the story as events

Exits 1 if anything in the story failed.")]
pub struct DemoArgs {
    /// What to ask
    #[arg(long, default_value = "Explain in two sentences why bees dance.", value_name = "TEXT")]
    pub prompt: String,
    /// Which model
    #[arg(long, default_value = "smollm2-135m-instruct", value_name = "MODEL")]
    pub model: String,
    /// Most tokens to write
    #[arg(long, default_value_t = 96, value_name = "TOKENS")]
    pub max_tokens: u32,
    /// What computes: auto, wgpu or cpu
    #[arg(long, default_value_t, value_name = "DEVICE")]
    pub device: DeviceChoice,
    /// Graphics adapter that computes, by its position in swarm doctor's list or a part of its name
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: Option<AdapterChoice>,
    /// Keep everything in this directory instead of a temporary one
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}
