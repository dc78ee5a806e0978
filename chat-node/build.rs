//! Compiles the schema of stored events.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let schema = protox::compile(["natter/stored/v1/event.proto"], ["proto"])?;
    prost_build::Config::new()
        .bytes([".natter.stored.v1"])
        .compile_fds(schema)?;
    Ok(())
}
