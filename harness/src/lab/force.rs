//! Removal by force of what a driver left, for an asynchronous caller.

use std::path::Path;

use super::unmount::{How, unmount_below};

/// Unmounts all that is at or below a folder of ours, and says in words what
/// became of it.
pub async fn take_down(folder: &Path) -> String {
    let owned = folder.to_owned();
    let told = tokio::task::spawn_blocking(move || unmount_below(&owned)).await;
    match told {
        Err(error) => format!("left: {error}"),
        Ok(Err(error)) => format!("left: {error}"),
        Ok(Ok(report)) => match (
            report.left.first(),
            report.gone.iter().any(|g| g.how == How::Detached),
        ) {
            (Some((path, why)), _) => format!("left: {}: {why}", path.display()),
            (None, true) => "removed by force (detached: it was in use)".to_owned(),
            (None, false) => "removed by force".to_owned(),
        },
    }
}

/// Random hexadecimal digits, two for each byte.
pub fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0_u8; bytes];
    if std::fs::File::open("/dev/urandom")
        .and_then(|mut f| std::io::Read::read_exact(&mut f, &mut buffer))
        .is_err()
    {
        // Without a source of randomness, the time and the place have to do.
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let seed = now.as_nanos().to_ne_bytes();
        for (i, byte) in buffer.iter_mut().enumerate() {
            *byte = seed[i % seed.len()]
                .wrapping_mul(31)
                .wrapping_add(u8::try_from(i & 0xff).unwrap_or(0));
        }
    }
    buffer.iter().map(|byte| format!("{byte:02x}")).collect()
}
