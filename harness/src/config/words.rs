//! The choices that a configuration can name.

use super::nearest::unknown_word;
use super::text::as_text;
use super::{ParseError, RPCS};
use csi_proto::v1::volume_capability::access_mode::Mode;
use std::fmt;
use std::str::FromStr;

macro_rules! words {
    (
        $(#[$meta:meta])*
        $name:ident, $kind:literal, $expected:literal,
        { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
        }

        impl $name {
            /// Every choice.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// Every choice, as it is written.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The choice as it is written.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(word: &str) -> Result<Self, ParseError> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(unknown_word($kind, word, Self::WORDS)),
                }
            }
        }

        as_text!($name, $expected);
    };
}

words! {
    /// What can hurt, and is asked only with the user's word.
    Allow, "consent", "one of the consents",
    {
        /// Kill, freeze and start the driver again.
        Restart = "restart",
        /// Dead servers and disks under a mount.
        Hang = "hang",
        /// Requests that are made to break a parser.
        CrashInputs = "crash-inputs",
        /// Fill a volume up.
        Fill = "fill",
        /// Ids and names with `..` or absolute paths in them.
        PathEscape = "path-escape",
    }
}

words! {
    /// How a workload wants a volume (`VolumeCapability.access_type`).
    AccessType, "access type", "an access type",
    {
        /// A mounted file system.
        Mount = "mount",
        /// A raw block device.
        Block = "block",
    }
}

words! {
    /// Who may use a volume at once (`VolumeCapability.AccessMode.Mode`).
    AccessMode, "access mode", "an access mode",
    {
        /// Read and write, on one node.
        SingleNodeWriter = "SINGLE_NODE_WRITER",
        /// Read only, on one node.
        SingleNodeReaderOnly = "SINGLE_NODE_READER_ONLY",
        /// Read only, on several nodes.
        MultiNodeReaderOnly = "MULTI_NODE_READER_ONLY",
        /// Several nodes, of which one writes.
        MultiNodeSingleWriter = "MULTI_NODE_SINGLE_WRITER",
        /// Several nodes, and all may write.
        MultiNodeMultiWriter = "MULTI_NODE_MULTI_WRITER",
        /// One workload on one node.
        SingleNodeSingleWriter = "SINGLE_NODE_SINGLE_WRITER",
        /// Several workloads on one node.
        SingleNodeMultiWriter = "SINGLE_NODE_MULTI_WRITER",
    }
}

words! {
    /// The verdict that a run must reach at least for exit code 0.
    Require, "verdict", "a verdict",
    {
        /// Nothing failed, and we could tell.
        Partial = "partial",
        /// All that the driver offers was checked.
        Conformant = "conformant",
    }
}

impl From<AccessMode> for Mode {
    fn from(mode: AccessMode) -> Self {
        match mode {
            AccessMode::SingleNodeWriter => Self::SingleNodeWriter,
            AccessMode::SingleNodeReaderOnly => Self::SingleNodeReaderOnly,
            AccessMode::MultiNodeReaderOnly => Self::MultiNodeReaderOnly,
            AccessMode::MultiNodeSingleWriter => Self::MultiNodeSingleWriter,
            AccessMode::MultiNodeMultiWriter => Self::MultiNodeMultiWriter,
            AccessMode::SingleNodeSingleWriter => Self::SingleNodeSingleWriter,
            AccessMode::SingleNodeMultiWriter => Self::SingleNodeMultiWriter,
        }
    }
}

/// A method of the five services, by its name: `NodePublishVolume`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rpc(&'static str);

impl Rpc {
    /// The method's name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl std::borrow::Borrow<str> for Rpc {
    fn borrow(&self) -> &str {
        self.0
    }
}

impl fmt::Display for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromStr for Rpc {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Self, ParseError> {
        let names: Vec<&'static str> = RPCS.iter().map(|(rpc, _)| *rpc).collect();
        match names.iter().find(|rpc| **rpc == name) {
            Some(rpc) => Ok(Self(rpc)),
            None => Err(unknown_word("RPC", name, &names)),
        }
    }
}

as_text!(Rpc, "the name of an RPC");
