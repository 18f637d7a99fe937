//! Makes Rust of the `.proto` files. `protox` reads them, so no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["aviary/ingest/v1/ingest.proto", "aviary/hub/v1/hub.proto"], ["proto"])?;
    let folder = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or("cargo names no folder")?;
    std::fs::write(folder.join("descriptors.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        // Connections are made by whoever uses the client, with TLS as the rest of the program has it.
        .build_transport(false)
        // An event's line is handed on as it came, never copied.
        .bytes(".aviary.ingest.v1.Batch.events")
        .compile_fds(files)?;
    Ok(())
}
