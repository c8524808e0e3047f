//! A kernel that makes calls wrong: `--mutate`, and `--trace-calls`.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::kernel::{Kernel, On, Pretend};
use super::rpc::{self, Place};
use crate::mutation::{Call, How, Mutation};

/// How much later a late call is made.
const LATE_BY: Duration = Duration::from_millis(1500);
/// How often one RPC is deceived. A driver that tries until it sees the effect, with
/// no end, must come to one.
const MOST_LIES: u32 = 64;
/// How many objects are remembered.
const MOST_OBJECTS: usize = 1024;

/// What goes wrong, and what is written down.
#[derive(Debug)]
pub(crate) struct Mutant {
    mutations: Vec<Mutation>,
    trace: Option<Arc<Mutex<File>>>,
    objects: Mutex<Vec<Object>>,
}

/// What a call was made on, for which volume. Another volume's calls may be aimed at it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Object {
    path: PathBuf,
    identity: Option<String>,
    volume: String,
    family: Family,
}

/// What kind of calls know an object: staging paths are none of a publish's targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Stage,
    Publish,
    Other,
}

impl Family {
    fn of(rpc: &str) -> Self {
        match rpc {
            "NodeStageVolume" | "NodeUnstageVolume" => Self::Stage,
            "NodePublishVolume" | "NodeUnpublishVolume" => Self::Publish,
            _ => Self::Other,
        }
    }
}

static ARMED: OnceLock<Mutant> = OnceLock::new();

/// Sets what goes wrong in this process.
pub(crate) fn arm(mutations: Vec<Mutation>, trace: Option<&Path>) -> io::Result<()> {
    let append = |path: &Path| OpenOptions::new().append(true).create(true).open(path);
    let mutant = Mutant {
        mutations,
        trace: match trace {
            Some(path) => Some(Arc::new(Mutex::new(append(path)?))),
            None => None,
        },
        objects: Mutex::default(),
    };
    ARMED
        .set(mutant)
        .map_err(|_| io::Error::other("mutations were set before"))
}

/// The mutant, in a process that was told to have one.
pub(crate) fn armed() -> Option<&'static Mutant> {
    ARMED.get()
}

impl Kernel for Mutant {
    fn call<T: Pretend, E: From<io::Error> + Display>(
        &self,
        call: Call,
        on: On,
        make: impl Fn(&On) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let place = rpc::count(call);
        let mut line = Line::of(self, &place, call, &on);
        // The honest driver's trace is what mutants are made from.
        if self.mutations.is_empty() && self.trace.is_some() {
            line.others = self.others(call, &place, &on);
        }
        let bends = |mutation: &&Mutation| mutation.bends(place.rpc, call, place.number);
        let how = self.mutations.iter().find(bends).map(|found| found.how);
        let answer = match how {
            None => {
                let answer = make(&on);
                line.write("-", &came(&answer));
                answer
            }
            Some(how) => self.bend(how, call, &on, &place, &line, make),
        };
        self.remember(&place, &on);
        answer
    }
}

impl Mutant {
    fn bend<T: Pretend, E: From<io::Error> + Display>(
        &self,
        how: How,
        call: Call,
        on: &On,
        place: &Place,
        line: &Line,
        make: impl Fn(&On) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        if rpc::deceive() > MOST_LIES {
            line.write(how.name(), "too often");
            return Err(io::Error::from_raw_os_error(libc::ELOOP).into());
        }
        let other = |path| self.other(call, place, path);
        match how {
            How::Error => {
                line.write(how.name(), "not made");
                Err(io::Error::from_raw_os_error(libc::EIO).into())
            }
            How::Skip => {
                line.write(how.name(), "not made");
                Ok(T::pretend()?)
            }
            How::Lie => {
                rpc::tell(call, on);
                line.write(how.name(), "not made");
                Ok(T::pretend()?)
            }
            How::Late => {
                rpc::tell(call, on);
                let (on, line) = (on.clone(), line.clone());
                let there = Identities::of(&on);
                std::thread::spawn(move || {
                    std::thread::sleep(LATE_BY);
                    match there.are_still(&on) {
                        true => line.write("late", &came(&make(&on))),
                        false => line.write("late", "the device is another now"),
                    }
                });
                Ok(T::pretend()?)
            }
            How::Twice => {
                let first = make(on);
                match &first {
                    Ok(_) => line.write(how.name(), &came(&make(on))),
                    Err(error) => line.write("-", &error.to_string()),
                }
                first
            }
            How::WrongTarget | How::WrongSource => {
                let mut wrong = on.clone();
                let aimed = match (how, &on.from) {
                    (How::WrongSource, Some(from)) => {
                        other(from).map(|path| wrong.from = Some(path))
                    }
                    (How::WrongTarget, _) => other(&on.at).map(|path| wrong.at = path),
                    _ => None,
                };
                let answer = make(&wrong);
                let name = if aimed.is_some() { how.name() } else { "-" };
                line.write(name, &format!("{}: {}", wrong.at.display(), came(&answer)));
                answer
            }
        }
    }

    /// Where another volume's object could stand for one of this call's.
    fn others(&self, call: Call, place: &Place, on: &On) -> &'static str {
        let is_known = |path| self.other(call, place, path).is_some();
        match (is_known(&on.at), on.from.as_deref().is_some_and(is_known)) {
            (false, false) => "-",
            (true, false) => How::WrongTarget.name(),
            (false, true) => How::WrongSource.name(),
            (true, true) => "both",
        }
    }

    /// Another volume's object that a call can be made on in place of this one: the
    /// one that is named alike, or else the last that was of its kind.
    fn other(&self, call: Call, place: &Place, path: &Path) -> Option<PathBuf> {
        let objects = self.objects();
        let owner = objects.iter().rfind(|object| object.path == path);
        let own = place
            .volume
            .as_deref()
            .or(owner.map(|object| object.volume.as_str()))?;
        let others = || objects.iter().filter(|object| object.volume != own);
        let named = path.to_str().filter(|path| path.contains(own));
        if let Some(path) = named {
            return others()
                .rev()
                .map(|object| PathBuf::from(path.replace(own, &object.volume)))
                .find(|path| path.symlink_metadata().is_ok());
        }
        let mounts = match call {
            Call::Umount | Call::Statfs | Call::Grow => super::mountinfo::as_they_are(),
            _ => Vec::new(),
        };
        let family = Family::of(place.rpc);
        let fits = |object: &&Object| {
            object.path != path
                && object.path.symlink_metadata().is_ok()
                && alike(path, &object.path)
                && identity(&object.path) == object.identity
        };
        let worth = |object: &&Object| {
            let is_mounted = |path: &Path| mounts.iter().any(|mount| mount.mount_point == path);
            (is_mounted(&object.path), object.family == family)
        };
        // Of those that are worth the same, `max_by_key` takes the last: the youngest.
        others()
            .filter(fits)
            .max_by_key(worth)
            .map(|object| object.path.clone())
    }

    fn remember(&self, place: &Place, on: &On) {
        let Some(volume) = &place.volume else {
            return;
        };
        let mut objects = self.objects();
        for path in on.from.iter().chain([&on.at]) {
            objects.retain(|object| object.path != *path);
            objects.push(Object {
                path: path.clone(),
                identity: identity(path),
                volume: volume.clone(),
                family: Family::of(place.rpc),
            });
        }
        let surplus = objects.len().saturating_sub(MOST_OBJECTS);
        objects.drain(..surplus);
    }

    fn objects(&self) -> MutexGuard<'_, Vec<Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one object can stand for another: a device for a device, a folder for a
/// folder, and for what is not there yet whatever is named like it.
fn alike(one: &Path, other: &Path) -> bool {
    let file_type = |path: &Path| path.symlink_metadata().ok().map(|found| found.file_type());
    one.starts_with("/dev") == other.starts_with("/dev")
        && one.extension() == other.extension()
        && file_type(one).is_none_or(|wanted| file_type(other) == Some(wanted))
}

/// The disk that a loop device is at this moment: its number is soon another's,
/// perhaps that of a stranger, whose disk no mutation may touch.
fn identity(path: &Path) -> Option<String> {
    let name = path.strip_prefix("/dev").ok()?.to_str()?;
    Some(std::fs::read_to_string(format!("/sys/block/{name}/diskseq")).unwrap_or_default())
}

/// The identities of all that a call is made on.
struct Identities(Vec<Option<String>>);

impl Identities {
    fn of(on: &On) -> Self {
        let paths = on.from.iter().chain([&on.at]);
        Self(paths.map(|path| identity(path)).collect())
    }

    fn are_still(&self, on: &On) -> bool {
        Self::of(on).0 == self.0
    }
}

/// What is written down of one call.
#[derive(Clone)]
struct Line {
    trace: Option<Arc<Mutex<File>>>,
    text: String,
    others: &'static str,
}

impl Line {
    fn of(mutant: &Mutant, place: &Place, call: Call, on: &On) -> Self {
        let volume = place.volume.as_deref().unwrap_or("-").escape_debug();
        let at = on.at.display();
        let text = format!("{}\t{volume}\t{call}\t{}\t{at}", place.rpc, place.number);
        Self {
            trace: mutant.trace.clone(),
            text,
            others: "-",
        }
    }

    fn write(&self, how: &str, came: &str) {
        let Some(trace) = &self.trace else {
            return;
        };
        let came = came.replace(['\n', '\t'], " ");
        let line = format!("{}\t{how}\t{came}\t{}\n", self.text, self.others);
        let mut file = trace.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody waits for these lines; a disk that is full must not end a driver.
        let _ = file.write_all(line.as_bytes());
    }
}

fn came<T: Pretend, E: Display>(answer: &Result<T, E>) -> String {
    match answer {
        Ok(answer) => answer.refused().unwrap_or_else(|| "ok".to_owned()),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn mutant(mutation: &str) -> Mutant {
        Mutant {
            mutations: vec![mutation.parse().expect("a mutation")],
            trace: None,
            objects: Mutex::default(),
        }
    }

    fn on(path: &Path) -> On {
        On {
            at: path.to_owned(),
            from: None,
        }
    }

    /// What comes of making one folder, and of making another after it.
    fn two_folders(mutation: &str) -> (tempfile::TempDir, Vec<io::Result<()>>) {
        let scratch = tempfile::tempdir().expect("a folder");
        let mutant = mutant(mutation);
        let _here = rpc::enter("NodePublishVolume", Some("a".to_owned()));
        let answers = ["one", "two"].map(|name| {
            let on = on(&scratch.path().join(name));
            mutant.call(Call::Mkdir, on, |on: &On| fs::create_dir(&on.at))
        });
        (scratch, answers.into())
    }

    #[test]
    fn a_call_that_is_skipped_is_not_made_and_the_next_is() {
        let (scratch, answers) = two_folders("NodePublishVolume:mkdir:1=skip");
        assert!(answers.iter().all(Result::is_ok));
        assert!(!scratch.path().join("one").exists() && scratch.path().join("two").exists());
    }

    #[test]
    fn a_call_that_fails_fails_in_its_own_rpc_alone() {
        let (scratch, answers) = two_folders("mkdir:2=error");
        let error = answers[1].as_ref().expect_err("an error");
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        assert!(answers[0].is_ok() && !scratch.path().join("two").exists());
        let (_, answers) = two_folders("NodeStageVolume:mkdir=error");
        assert!(answers.iter().all(Result::is_ok));
    }

    #[test]
    fn of_two_the_first_answer_counts() {
        let (scratch, answers) = two_folders("mkdir=twice");
        assert!(answers.iter().all(Result::is_ok));
        assert!(scratch.path().join("one").exists());
    }

    #[test]
    fn a_call_is_made_on_what_another_volume_has() {
        let scratch = tempfile::tempdir().expect("a folder");
        let mutant = mutant("rmdir=wrong-target");
        let (ours, theirs) = (scratch.path().join("a"), scratch.path().join("b"));
        for (volume, path) in [("volume-b", &theirs), ("volume-a", &ours)] {
            let _here = rpc::enter("NodePublishVolume", Some(volume.to_owned()));
            mutant
                .call(Call::Mkdir, on(path), |on: &On| fs::create_dir(&on.at))
                .expect("made");
        }
        let _here = rpc::enter("NodeUnpublishVolume", Some("volume-a".to_owned()));
        mutant
            .call(Call::Rmdir, on(&ours), |on: &On| fs::remove_dir(&on.at))
            .expect("removed");
        assert!(ours.exists() && !theirs.exists());
    }

    #[test]
    fn who_insists_comes_to_an_end() {
        let mutant = mutant("umount=skip");
        let _here = rpc::enter("NodeUnpublishVolume", None);
        let mut calls = 0;
        let made = || mutant.call(Call::Umount, on(Path::new("/")), |_| Ok::<_, io::Error>(()));
        while made().is_ok() {
            calls += 1;
        }
        assert_eq!(calls, MOST_LIES);
    }
}
