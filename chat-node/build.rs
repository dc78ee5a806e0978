//! Compiles the schemas of stored events and of what nodes tell each other.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let schemas = ["natter/stored/v1/event.proto", "natter/node/v1/node.proto"];
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .compile_fds(protox::compile(schemas, ["proto"])?)?;
    Ok(())
}
