//! The one way to the kernel and to helper programs.
//!
//! Every call that changes the node, or that tells the driver of it, is handed to a
//! [`Kernel`] with a name and with what it is made on. The honest one makes it. The
//! [mutant](super::mutant) one makes it wrong.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mutant;
use crate::mutation::Call;

/// What a call is made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct On {
    /// What is changed or asked: a mount point, a file, a device.
    pub(crate) at: PathBuf,
    /// What goes there, of a call that takes something from somewhere.
    pub(crate) from: Option<PathBuf>,
}

/// Who makes the calls.
pub(crate) trait Kernel {
    /// Makes one call, or does what it likes in place of it.
    fn call<T: Pretend, E: From<io::Error> + Display>(
        &self,
        call: Call,
        on: On,
        make: impl Fn(&On) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>;
}

/// Makes every call as it is asked for.
pub(crate) struct Honest;

impl Kernel for Honest {
    fn call<T: Pretend, E: From<io::Error> + Display>(
        &self,
        _: Call,
        on: On,
        make: impl Fn(&On) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        make(&on)
    }
}

/// Makes a call on one object.
pub(crate) fn call<T: Pretend, E: From<io::Error> + Display>(
    call: Call,
    at: &Path,
    make: impl Fn(&Path) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let on = On {
        at: at.to_owned(),
        from: None,
    };
    dispatch(call, on, move |on| make(&on.at))
}

/// Makes a call that takes something from one object to another; `make` is handed
/// both in this order.
pub(crate) fn call_from<T: Pretend, E: From<io::Error> + Display>(
    call: Call,
    from: &Path,
    at: &Path,
    make: impl Fn(&Path, &Path) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let on = On {
        at: at.to_owned(),
        from: Some(from.to_owned()),
    };
    dispatch(call, on, move |on| {
        make(on.from.as_deref().unwrap_or(Path::new("")), &on.at)
    })
}

fn dispatch<T: Pretend, E: From<io::Error> + Display>(
    call: Call,
    on: On,
    make: impl Fn(&On) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match mutant::armed() {
        None => Honest.call(call, on, make),
        Some(mutant) => mutant.call(call, on, make),
    }
}

/// An open file, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    file: Arc<File>,
    path: PathBuf,
    how: OpenOptions,
}

impl Opened {
    /// open(2).
    pub(crate) fn open(path: &Path, how: &OpenOptions) -> io::Result<Self> {
        let options = how.clone();
        let file = call(Call::Open, path, move |at| options.open(at))?;
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            how: how.clone(),
        })
    }

    /// open(2), to read.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Self::open(path, OpenOptions::new().read(true))
    }

    /// The file itself, to read from it.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes a call on the open file.
    pub(crate) fn call<T: Pretend>(
        &self,
        name: Call,
        make: impl Fn(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let opened = self.clone();
        call(name, &self.path, move |at| make(&*opened.aimed(at)?))
    }

    /// The same, with a second open file that the call takes something from.
    pub(crate) fn call_from<T: Pretend>(
        &self,
        name: Call,
        from: &Self,
        make: impl Fn(&File, &File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (source, opened) = (from.clone(), self.clone());
        call_from(name, &from.path, &self.path, move |from, at| {
            make(&*source.aimed(from)?, &*opened.aimed(at)?)
        })
    }

    /// This file, or another that the call was aimed at.
    fn aimed(&self, at: &Path) -> io::Result<Arc<File>> {
        if at == self.path {
            return Ok(Arc::clone(&self.file));
        }
        self.how.open(at).map(Arc::new)
    }
}

/// What a call that was never made can be said to have answered.
pub(crate) trait Pretend: Sized {
    /// Something plausible.
    fn pretend() -> io::Result<Self>;

    /// What went wrong all the same, of a call that came back.
    fn refused(&self) -> Option<String> {
        None
    }
}

impl Pretend for () {
    fn pretend() -> io::Result<Self> {
        Ok(())
    }
}

impl Pretend for i32 {
    fn pretend() -> io::Result<Self> {
        Ok(0)
    }
}

impl Pretend for Vec<u8> {
    fn pretend() -> io::Result<Self> {
        Ok(Self::new())
    }
}

/// An empty file elsewhere.
impl Pretend for File {
    fn pretend() -> io::Result<Self> {
        tempfile::tempfile()
    }
}
