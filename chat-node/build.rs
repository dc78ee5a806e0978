//! Compiles the Protobuf schemas: what is stored, and what clients speak.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = [
        "natter/client/v2/client.proto",
        "natter/stored/v1/event.proto",
    ];
    let schema = protox::compile(files, ["proto"])?;
    prost_build::Config::new()
        .bytes([".natter"])
        .compile_fds(schema)?;
    Ok(())
}
