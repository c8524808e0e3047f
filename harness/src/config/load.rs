//! Where the words come from, and which of them win.

use super::environment::{self, overlay};
use super::{Config, ConfigError, Mistake, Place, validate, yaml};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The file that is looked for in the working directory.
pub const FILE_NAME: &str = "csi-conformance.yaml";

/// A slip of the pen that would be passed over in silence.
const MISNAMED: &str = "csi-conformance.yml";

/// No configuration is this large; what is, is something else (`/dev/zero`).
const LARGEST: u64 = 1 << 20;

impl Config {
    /// The file (`file`, or the one that `CSI_CONFORMANCE_CONFIG` names, or
    /// `csi-conformance.yaml` in the working directory, which may be missing),
    /// and over it the environment. Paths in the file are relative to the
    /// working directory.
    ///
    /// # Errors
    /// Whatever is wrong, with its place; see [`ConfigError`].
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_from(file, Path::new(""), &|name| std::env::var_os(name))
    }

    /// [`Config::load`] with a working directory and an environment of choice.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_from(
        file: Option<&Path>,
        directory: &Path,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let named = match file {
            Some(file) => Some((file.to_owned(), "--config")),
            None => environment::variable(environment, environment::FILE)?
                .map(|file| (PathBuf::from(file), environment::FILE)),
        };
        let mut config = match named {
            Some((file, by)) => match read(&directory.join(&file))? {
                Some(content) => Self::from_bytes(&content, &file)?,
                None => return Err(ConfigError::NotFound { path: file, by }),
            },
            None => match read(&directory.join(FILE_NAME))? {
                Some(content) => Self::from_bytes(&content, Path::new(FILE_NAME))?,
                None if directory.join(MISNAMED).exists() => {
                    return Err(ConfigError::Misnamed {
                        found: MISNAMED.into(),
                        right: FILE_NAME,
                    });
                }
                None => Self::default(),
            },
        };
        overlay(&mut config, environment)?;
        config.validate()?;
        Ok(config)
    }

    /// Reads a configuration from YAML text; `file` is what errors call it. An
    /// empty text is the default.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_yaml(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let one = |(place, message): (Option<Place>, String)| {
            ConfigError::Mistakes(vec![Mistake {
                file: Some(file.to_owned()),
                place,
                message,
            }])
        };
        let mut config: Self = yaml::read(text).map_err(one)?;

        let mut mistakes: Vec<Mistake> = validate::problems(&config)
            .into_iter()
            .map(|problem| Mistake {
                file: Some(file.to_owned()),
                place: yaml::locate(text, &problem.path),
                message: problem.to_string(),
            })
            .collect();
        if !mistakes.is_empty() {
            mistakes.sort_by_key(|mistake| mistake.place);
            return Err(ConfigError::Mistakes(mistakes));
        }

        for (i, expected) in config.expected.iter_mut().enumerate() {
            let path = ["expected".into(), i.into(), "check".into()];
            expected.line = yaml::locate(text, &path).map(|place| place.line);
        }
        Ok(config)
    }

    /// Whether it makes sense as a whole; to be called after fields were set.
    ///
    /// # Errors
    /// All that contradicts itself or cannot be, by key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mistakes: Vec<Mistake> = validate::problems(self)
            .into_iter()
            .map(|problem| Mistake {
                file: None,
                place: None,
                message: problem.to_string(),
            })
            .collect();
        match mistakes.is_empty() {
            true => Ok(()),
            false => Err(ConfigError::Mistakes(mistakes)),
        }
    }

    fn from_bytes(content: &[u8], file: &Path) -> Result<Self, ConfigError> {
        match std::str::from_utf8(content) {
            Ok(text) => Self::from_yaml(text, file),
            Err(error) => Err(ConfigError::Mistakes(vec![Mistake {
                file: Some(file.to_owned()),
                place: Some(Place::of_byte(content, error.valid_up_to())),
                message: "broken YAML: expected UTF-8, found bytes that are none".into(),
            }])),
        }
    }
}

/// The content of a file; none where there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut content = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() as u64 > LARGEST {
        return Err(failed(std::io::Error::other(
            "larger than 1 MiB, so no configuration",
        )));
    }
    Ok(Some(content))
}
