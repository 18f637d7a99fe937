//! Makes Rust of the `.proto` files. `protox` reads them, so no `protoc` is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["aviary/ingest/v1/ingest.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // Connections are made by whoever uses the client, with TLS as the rest of the program has it.
        .build_transport(false)
        // An event's line is handed on as it came, never copied.
        .bytes(".aviary.ingest.v1.Batch.events")
        .compile_fds(files)?;
    Ok(())
}
