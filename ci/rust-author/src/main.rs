//! A driver of a Rust author. Yours stands here: all that matters is that it
//! serves CSI at `CSI_ENDPOINT`. This one borrows the loop driver.

use std::error::Error;

use csi_drivers::looper::{Endpoint, Options, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint: Endpoint = std::env::var("CSI_ENDPOINT")?.parse()?;
    let state_dir = std::env::args()
        .nth(1)
        .ok_or("give the folder for volumes")?;
    Ok(serve(Options::new(endpoint, state_dir)).await?)
}
