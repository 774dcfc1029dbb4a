//! Checks every object of the store against what it carries to be checked by, and forgets what is damaged.
//!
//! Forgetting is repair: an object that is not there is made again when somebody needs it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use super::remove::Leased;
use super::usage::names;
use super::{StepRecord, Store, StoreError, StoredImage, record};
use crate::fsio;
use crate::layer::{self, Privileges, Toc};
use crate::oci::{Descriptor, Digest};

/// Something that is wrong in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where: a path below the store.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
    /// Whether it was forgotten. Otherwise it was only to be looked at, or a running process uses it.
    pub forgotten: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// What a check came to.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Objects that were looked at.
    pub objects: u64,
    /// What is wrong.
    pub damages: Vec<Damage>,
}

/// How to check.
#[derive(Clone, Copy, Debug)]
pub struct CheckRequest {
    /// Forget what is damaged.
    pub repair: bool,
    /// How this process makes files: without other ids, owners and modes are not compared.
    pub privileges: Privileges,
    /// Says whether the bytes of a context's index are sound: what they mean is not the store's affair.
    pub is_index: fn(&[u8]) -> bool,
}

impl Store {
    /// Checks everything.
    ///
    /// # Errors
    /// A folder of the store cannot be read.
    pub fn check(&self, request: &CheckRequest) -> Result<Checked, StoreError> {
        let mut checked = Checked::default();
        self.check_layers(request, &mut checked)?;
        self.check_blobs(request, &mut checked)?;
        self.check_records(request, &mut checked)?;
        self.check_images(request, &mut checked)?;
        if request.repair {
            self.sweep();
        }
        Ok(checked)
    }

    fn check_records(
        &self,
        request: &CheckRequest,
        checked: &mut Checked,
    ) -> Result<(), StoreError> {
        for folder in self.paths.record_folders() {
            let is_index = folder == self.paths.contexts();
            // Only their times say something.
            if [self.paths.mounted(), self.paths.evictions()].contains(&folder) {
                continue;
            }
            for name in names(&folder)? {
                let path = folder.join(name);
                checked.objects += 1;
                let sound = match is_index {
                    true => fsio::read(&path).is_ok_and(|bytes| (request.is_index)(&bytes)),
                    false => record::is_sound(&path),
                };
                if !sound {
                    // It may have been replaced since.
                    let _names = self.lock_names()?;
                    if !is_index && record::is_sound(&path)
                        || fsio::symlink_metadata(&path).is_err()
                    {
                        continue;
                    }
                    let forgotten = request.repair && fsio::remove_file_if_there(&path).is_ok();
                    self.found(checked, &path, "does not match its checksum", forgotten);
                }
            }
        }
        Ok(())
    }

    fn check_blobs(&self, request: &CheckRequest, checked: &mut Checked) -> Result<(), StoreError> {
        for name in names(&self.paths.blobs())? {
            let path = self.paths.blobs().join(&name);
            checked.objects += 1;
            let digest = Digest::from_hex(&name);
            if digest
                .as_ref()
                .is_ok_and(|digest| has_digest(&path, *digest))
            {
                continue;
            }
            if let (Ok(digest), true) = (digest, request.repair) {
                self.retire(Leased::Blob, digest, &path);
            }
            let problem = "is not what its name says";
            self.found(checked, &path, problem, request.repair);
        }
        Ok(())
    }

    fn check_layers(
        &self,
        request: &CheckRequest,
        checked: &mut Checked,
    ) -> Result<(), StoreError> {
        let made_here = self.made_here()?;
        for name in names(&self.paths.layers())? {
            let path = self.paths.layers().join(&name);
            checked.objects += 1;
            let Ok(diff_id) = Digest::from_hex(&name) else {
                self.found(checked, &path, "is no layer", false);
                continue;
            };
            // It is being made, and gets its table last.
            if self.table(&path).is_none() && !self.has_old_table(&path) {
                continue;
            }
            let result = check_layer(self, diff_id, &path, request);
            let result = result.and_then(|has_content| {
                let lost = !has_content && made_here.contains(&diff_id);
                match lost {
                    true => Err("nothing is left of its content".to_owned()),
                    false => Ok(()),
                }
            });
            if let Err(problem) = result
                // A prune beside may have taken it.
                && (self.table(&path).is_some() || self.has_old_table(&path))
            {
                if request.repair {
                    self.retire(Leased::Layer, diff_id, &path);
                }
                self.found(checked, &path, &problem, request.repair);
            }
        }
        Ok(())
    }

    /// Whether a layer was not on the disk yet when the machine went down.
    fn has_old_table(&self, folder: &Path) -> bool {
        let inside = names(folder).unwrap_or_default();
        inside.iter().any(|name| name.starts_with("toc~"))
    }

    /// The layers that steps of builds on this machine made: nobody else has them.
    fn made_here(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let steps = names(&self.paths.steps())?.into_iter();
        Ok(steps
            .filter_map(|name| record::read::<StepRecord>(&self.paths.steps().join(name)))
            .map(|step| step.diff_id)
            .collect())
    }

    /// A name whose config or layers are gone stands for nothing.
    fn check_images(
        &self,
        request: &CheckRequest,
        checked: &mut Checked,
    ) -> Result<(), StoreError> {
        for image in self.images()? {
            for stored in &image.images {
                if self.is_whole(stored) {
                    continue;
                }
                // It may have been given to another image since, or have gone.
                let _names = self.lock_names()?;
                if self.image(&image.name).as_ref() != Some(&image) {
                    break;
                }
                let path = self.paths.image(&image.name);
                let problem = format!(
                    "the image {} for {} is not whole: build it again",
                    image.name, stored.platform
                );
                let forgotten = request.repair && fsio::remove_file_if_there(&path).is_ok();
                self.found(checked, &path, &problem, forgotten);
                break;
            }
        }
        Ok(())
    }

    /// Whether everything is here that it takes to write an image somewhere.
    fn is_whole(&self, image: &StoredImage) -> bool {
        let layer = |layer: &super::ImageLayer| match &layer.blob {
            // It is written as it came.
            Some(blob) => self.is_there(blob),
            None => self.table(&self.paths.layer(layer.diff_id)).is_some(),
        };
        self.is_there(&image.config) && image.layers.iter().all(layer)
    }

    /// Whether a blob is here; it is not held for that.
    fn is_there(&self, blob: &Descriptor) -> bool {
        fsio::metadata(self.paths.blob(blob.digest)).is_ok_and(|there| there.len() == blob.size)
    }

    fn found(&self, checked: &mut Checked, path: &Path, problem: &str, forgotten: bool) {
        checked.damages.push(Damage {
            place: self.paths.below(path),
            problem: problem.to_owned(),
            forgotten,
        });
    }
}

/// What is wrong with a layer, else whether its content is here.
fn check_layer(
    store: &Store,
    diff_id: Digest,
    folder: &Path,
    request: &CheckRequest,
) -> Result<bool, String> {
    let table = store.table(folder).and_then(|path| fsio::read(path).ok());
    let Some(bytes) = table else {
        return Err("was not on the disk when the machine went down".to_owned());
    };
    let toc = Toc::decode(&bytes).map_err(|error| fsio::with_causes(&error))?;
    let mut has_content = toc.entries().iter().all(|entry| entry.size() == 0);
    for name in names(folder).map_err(|error| error.to_string())? {
        let path = folder.join(&name);
        if (name == "tar" || name.starts_with("dir")) && store.form(path.clone()).is_none() {
            // Nobody relies on it: it was added just before the machine went down.
            continue;
        }
        if name == "tar" {
            has_content = true;
            if !has_digest(&path, diff_id) {
                return Err("its tar is not what its name says".to_owned());
            }
        } else if name == "dir" || name.starts_with("dir-") {
            has_content = true;
            layer::check_directory(&toc, &path, request.privileges)
                .map_err(|error| format!("its directory: {}", fsio::with_causes(&error)))?;
        } else if name.starts_with("blob-") {
            let blob: Option<Descriptor> = record::read(&path);
            has_content |= blob.is_some_and(|blob| store.is_there(&blob));
        }
    }
    Ok(has_content)
}

fn has_digest(path: &Path, digest: Digest) -> bool {
    let Ok(file) = fsio::open(path) else {
        return false;
    };
    let mut reader = super::VerifyingReader::new(file, digest);
    std::io::copy(&mut reader, &mut std::io::sink()).is_ok()
}
