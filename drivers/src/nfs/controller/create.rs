//! `CreateVolume`.

use std::collections::{BTreeMap, HashMap};

use csi_proto::v1 as csi;
use tonic::Status;

use crate::common::args::{self as fields, bounds, lies_in};
use crate::common::capability::Capability;
use crate::common::patience::Patience;
use crate::nfs::args::{SERVER, SHARE, SUB_DIR, escape};
use crate::nfs::capability;
use crate::nfs::driver::Driver;
use crate::nfs::flags::Flags;
use crate::nfs::mounting::undone;
use crate::nfs::source::Source;
use crate::nfs::store::{Made, Records, internal};
use crate::nfs::workplace::Workplace;
use crate::sys::disposable::{self, Chore};
use crate::sys::file;

/// In `subDir`, this stands for the name of the volume.
const NAME: &str = "{name}";
/// Parameters that begin so are the provisioner's.
const RESERVED: &str = "csi.storage.k8s.io/";
/// The longest name of a folder that is made of a volume's name alone.
const LONGEST_NAME: usize = 200;

/// One name is one volume: a repeat finds it again, also after a crash.
pub(super) fn create(
    driver: &Driver,
    request: &csi::CreateVolumeRequest,
    patience: &Patience,
) -> Result<csi::CreateVolumeResponse, Status> {
    let name = fields::name(&request.name)?;
    let capabilities = Capability::parse_all(&request.volume_capabilities)?;
    let range = bounds(request.capacity_range.as_ref())?;
    check_form(request)?;
    for asked in &capabilities {
        capability::check(asked).map_err(Status::invalid_argument)?;
    }
    let parameters = parameters(request)?;
    let flags = match capabilities.first() {
        Some(first) => Flags::of(first, driver.lets_background())?,
        None => Flags::default(),
    };
    let made = driver.store.update(|records| {
        if let Some(made) = records.volumes.get(name) {
            let same = is_same(made, &parameters, range);
            match same {
                Ok(()) => return Ok(made.clone()),
                Err(why) if made.is_made => {
                    return Err(Status::already_exists(format!(
                        "a volume of this name exists, and {why}"
                    )));
                }
                Err(_) => {}
            }
        }
        let made = design(driver, name, &parameters, range.0, flags)?;
        is_free(records, name, &made.source)?;
        records.volumes.insert(name.to_owned(), made.clone());
        Ok(made)
    })?;
    make(driver, &made, patience)?;
    driver.store.update(|records| {
        if let Some(made) = records.volumes.get_mut(name) {
            made.is_made = true;
        }
        Ok(())
    })?;
    Ok(csi::CreateVolumeResponse {
        volume: Some(csi::Volume {
            capacity_bytes: i64::try_from(made.capacity_bytes).unwrap_or(i64::MAX),
            volume_id: made.source.id(),
            volume_context: made.source.context(),
            content_source: None,
            accessible_topology: Vec::new(),
        }),
    })
}

/// What is wrong with a request whatever volumes there are.
fn check_form(request: &csi::CreateVolumeRequest) -> Result<(), Status> {
    if !request.mutable_parameters.is_empty() {
        return Err(Status::invalid_argument(
            "mutable_parameters are not supported",
        ));
    }
    if request.volume_content_source.is_some() {
        return Err(Status::invalid_argument(
            "volume_content_source is not supported",
        ));
    }
    Ok(())
}

/// The parameters that are ours.
fn parameters(request: &csi::CreateVolumeRequest) -> Result<BTreeMap<String, String>, Status> {
    let mut ours = BTreeMap::new();
    for (key, value) in &request.parameters {
        match key.as_str() {
            SERVER | SHARE | SUB_DIR => drop(ours.insert(key.clone(), value.clone())),
            key if key.starts_with(RESERVED) => {}
            key => {
                return Err(Status::invalid_argument(format!(
                    "the parameter {key:?} is not known; there are {SERVER}, {SHARE} and {SUB_DIR}"
                )));
            }
        }
    }
    Ok(ours)
}

/// Whether an existing volume is what is asked for, or why not.
fn is_same(
    made: &Made,
    parameters: &BTreeMap<String, String>,
    range: (u64, u64),
) -> Result<(), String> {
    if made.parameters != *parameters {
        return Err("it was made with other parameters".to_owned());
    }
    if !lies_in(made.capacity_bytes, range) {
        return Err("its size does not lie in the capacity_range".to_owned());
    }
    Ok(())
}

/// The volume that is asked for.
fn design(
    driver: &Driver,
    name: &str,
    parameters: &BTreeMap<String, String>,
    capacity_bytes: u64,
    flags: Flags,
) -> Result<Made, Status> {
    let part = |key| parameters.get(key).map_or("", String::as_str);
    let folder = folder_name(name)?;
    let sub_dir = match part(SUB_DIR) {
        "" => folder,
        given => given.replace(NAME, &folder),
    };
    let source = Source::new(part(SERVER), part(SHARE), &sub_dir, escape(driver))
        .map_err(|why| Status::invalid_argument(format!("parameters: {why}")))?;
    if source.sub_dir().is_empty() {
        return Err(Status::invalid_argument(format!(
            "parameters: {SUB_DIR} names no folder"
        )));
    }
    Ok(Made {
        source,
        capacity_bytes,
        parameters: parameters.clone(),
        flags,
        is_made: false,
    })
}

/// A folder is one volume's: who deletes his would delete the other's.
fn is_free(records: &Records, name: &str, source: &Source) -> Result<(), Status> {
    match records.volume(&source.id()) {
        Some((other, _)) if other != name => Err(Status::already_exists(format!(
            "another volume has the folder that {SUB_DIR} names; {NAME} in it would be replaced by the volume's name"
        ))),
        _ => Ok(()),
    }
}

/// Makes the folder of a volume on its share, where it is not there yet.
fn make(driver: &Driver, made: &Made, patience: &Patience) -> Result<(), Status> {
    let share = made.source.whole_share();
    let workplace = Workplace::at(driver, &share, &made.flags, patience)?;
    let chore = Chore::MakeFolders {
        root: workplace.path(),
        names: made.source.sub_dir(),
    };
    disposable::run(chore, patience)
        .map(drop)
        .map_err(|why| undone("make the volume's folder below", workplace.path(), &why))
}

/// The name of a folder for a volume of this name: two names never make one folder.
fn folder_name(name: &str) -> Result<String, Status> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let mut folder = String::new();
    for (number, byte) in name.bytes().enumerate() {
        // A dot in front would hide it, or lead elsewhere.
        if plain(byte) && (number > 0 || byte != b'.') {
            folder.push(char::from(byte));
        } else {
            folder.push_str(&format!("%{byte:02x}"));
        }
    }
    if folder.len() > LONGEST_NAME {
        // The record tells it to a repeat.
        folder.truncate(LONGEST_NAME / 2);
        folder.push_str(&file::random_hex(16).map_err(internal)?);
    }
    Ok(folder)
}

/// Whether parameters are those that a volume was made with, as far as they go.
pub(super) fn are_those_of(made: &Made, given: &HashMap<String, String>) -> bool {
    given
        .iter()
        .filter(|(key, _)| !key.starts_with(RESERVED))
        .all(|(key, value)| made.parameters.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_folder_of_its_own() {
        let folder = |name: &str| folder_name(name).expect("a folder");
        assert_eq!(folder("pvc-1_a.b"), "pvc-1_a.b");
        assert_eq!(folder("../a b"), "%2e.%2fa%20b");
        assert_eq!(folder("%2e"), "%252e");
        let long = "\u{2603}".repeat(42);
        assert!(folder(&long).len() <= LONGEST_NAME);
        assert_ne!(folder(&long), folder(&long), "the record keeps them apart");
    }
}
