//! Helper programs that fail when we want them to: wrappers that stand before the
//! real ones in the `PATH` of a driver that we start.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The programs that make a file system larger.
const GROWING: [&str; 3] = ["xfs_growfs", "resize2fs", "btrfs"];

/// While this file lies beside the wrappers, they fail.
const FAIL: &str = "fail";
/// What failed, a line for each time.
const FAILED: &str = "failed";

/// The wrappers of a run.
#[derive(Debug, Clone)]
pub struct Tools(PathBuf);

impl Tools {
    /// Makes them in a new folder.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn lay(folder: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().mode(0o755).create(&folder)?;
        for name in GROWING {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o755)
                .open(folder.join(name))?;
            file.write_all(script(name).as_bytes())?;
        }
        Ok(Self(folder))
    }

    /// Puts them first in the `PATH` of a process with these variables beside ours.
    pub fn put_before(&self, environment: &mut Vec<(OsString, OsString)>) {
        let named = |(name, _): &&(OsString, OsString)| name == "PATH";
        let path = environment
            .iter()
            .rfind(named)
            .map(|(_, path)| path.clone());
        let path = path.or_else(|| std::env::var_os("PATH"));
        environment.push(("PATH".into(), self.before(&path.unwrap_or_default())));
    }

    /// A `PATH` with the wrappers before what it had.
    fn before(&self, path: &OsStr) -> OsString {
        let folder = self.0.as_os_str();
        [folder, path].join(OsStr::new(":"))
    }

    /// Lets the programs fail until the answer is dropped.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn fail(&self) -> io::Result<Failing<'_>> {
        // What failed before was another's.
        match fs::remove_file(self.0.join(FAILED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => File::create(self.0.join(FAIL)).map(|_| Failing(&self.0)),
        }
    }
}

/// The programs fail as long as this is there.
#[derive(Debug)]
pub struct Failing<'a>(&'a Path);

impl Failing<'_> {
    /// The programs that were called, and failed; a word for each.
    pub fn called(&self) -> String {
        let failed = fs::read_to_string(self.0.join(FAILED)).unwrap_or_default();
        failed.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0.join(FAIL));
    }
}

/// A wrapper: it leaves itself out of the `PATH`, so that the next of its name is
/// the real one.
fn script(name: &str) -> String {
    // Only one of the many things that btrfs(8) does makes it larger.
    let when = match name {
        "btrfs" => "case \"$*\" in *resize*) true;; *) false;; esac",
        _ => "true",
    };
    format!(
        "#!/bin/sh\n\
         here=${{0%/*}}\n\
         if [ -e \"$here/{FAIL}\" ] && {when}; then\n\
         \x20 echo {name} >> \"$here/{FAILED}\"\n\
         \x20 echo \"{name}: csi-conformance lets it fail\" >&2\n\
         \x20 exit 1\n\
         fi\n\
         PATH=${{PATH#\"$here:\"}}:/usr/sbin:/sbin:/usr/bin:/bin\n\
         exec {name} \"$@\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_wrapper_fails_when_it_is_told_to_and_else_is_what_it_wraps() {
        let place = tempfile::tempdir().expect("a scratch folder");
        let real = place.path().join("real");
        fs::create_dir(&real).expect("made");
        let program = "#!/bin/sh\necho \"real $*\"\n";
        for name in GROWING {
            fs::write(real.join(name), program).expect("written");
            let status = Command::new("chmod")
                .arg("755")
                .arg(real.join(name))
                .status();
            assert!(status.expect("chmod").success());
        }
        let tools = Tools::lay(place.path().join("tools")).expect("laid");
        let path = tools.before(real.as_os_str());
        let said = |name: &str, word: &str| {
            let file = place.path().join("tools").join(name);
            let output = Command::new(file).arg(word).env("PATH", &path).output();
            let output = output.expect("it runs");
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            (output.status.success(), text)
        };
        assert_eq!(said("resize2fs", "x"), (true, "real x".to_owned()));
        let failing = tools.fail().expect("told");
        assert_eq!(said("resize2fs", "x"), (false, String::new()));
        assert_eq!(said("btrfs", "scan"), (true, "real scan".to_owned()));
        assert_eq!(failing.called(), "resize2fs");
        drop(failing);
        assert_eq!(said("xfs_growfs", "x"), (true, "real x".to_owned()));
    }
}
