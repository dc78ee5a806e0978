//! Compiles the Protobuf schemas: what is stored, what clients speak, and what nodes tell each other.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = [
        "natter/client/v2/client.proto",
        "natter/node/v1/node.proto",
        "natter/stored/v1/event.proto",
    ];
    let schema = protox::compile(files, ["proto"])?;
    prost_build::Config::new()
        .bytes([".natter"])
        .btree_map([".natter"])
        .compile_fds(schema)?;
    Ok(())
}
