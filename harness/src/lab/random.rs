//! Names that no other run has.

use std::fs::File;
use std::io::{self, Read};

/// Random hexadecimal digits, two for each byte.
///
/// # Errors
/// `/dev/urandom` cannot be read.
pub fn random_hex(bytes: usize) -> io::Result<String> {
    let mut random = vec![0_u8; bytes];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(|e| io::Error::new(e.kind(), format!("read /dev/urandom: {e}")))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_not_alike() -> io::Result<()> {
        let (one, other) = (random_hex(16)?, random_hex(16)?);
        assert_eq!((one.len(), other.len()), (32, 32));
        assert!(one.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(one, other);
        Ok(())
    }
}
