//! The table read again at each change: poll(2) on mountinfo, on every kernel.

use super::super::process;
use super::WatchError;
use super::namespace::{Holder, Namespace};
use super::source::{Life, Sink};
use super::table::Table;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};

/// An open mountinfo. While it is open it holds its namespace, so it is closed
/// as soon as nobody lives there.
#[derive(Debug)]
pub(super) struct Reread {
    file: File,
    namespace: Namespace,
    /// Device and inode of the namespace.
    number: (u64, u64),
    table: Table,
    room: Vec<u8>,
}

impl Reread {
    pub(super) fn start(namespace: Namespace) -> Result<Self, WatchError> {
        // A change after this will be told, and the table is read after it.
        let file = namespace.open("mountinfo")?;
        let number = match namespace {
            Namespace::Ours => process::our_mount_namespace(),
            Namespace::Of(process) => process.mount_namespace(),
        };
        let number = number.map_err(|e| WatchError::io("looking at a namespace", e))?;
        let mut it = Self {
            file,
            namespace,
            number,
            table: Table::default(),
            room: Vec::new(),
        };
        it.read()
            .map_err(|e| WatchError::io("reading mountinfo", e))?;
        it.table = Table::new(&it.room);
        Ok(it)
    }

    /// Reads all of it.
    fn read(&mut self) -> io::Result<()> {
        self.room.clear();
        self.file.rewind()?;
        self.file.read_to_end(&mut self.room).map(drop)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(super) fn look(&mut self, sink: &mut Sink) -> io::Result<Life> {
        self.read()?;
        for told in self.table.next(&self.room) {
            sink.take(told, None);
        }
        sink.odd(self.table.odd());
        sink.hand_on();
        Ok(Life::GoesOn)
    }

    /// Who else lives in the namespace.
    pub(super) fn heir(&self) -> Option<Holder> {
        Holder::heir(self.number)
    }

    /// Whether it holds a namespace that would end without it.
    pub(super) fn holds_a_namespace(&self) -> bool {
        self.namespace != Namespace::Ours
    }
}
