//! `kill -9` of a container's processes, from a pod that sees those of its machine (`hostPID`).
//!
//! A process cannot be killed from inside its own container: process 1 takes no signal that it did not ask for.

use std::fs;
use std::process::ExitCode;

use natter_tests::process::kill_9;
use serde_json::json;

/// Length of a container's id, in hexadecimal digits.
const ID_LENGTH: usize = 64;

/// Ends every process whose cgroup is that of the container, whatever the driver calls it.
pub fn kill(container: &str) -> ExitCode {
    // Part of an id would be in the names of others too.
    let is_id =
        container.len() == ID_LENGTH && container.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        eprintln!("'{container}' is no container's id: {ID_LENGTH} hexadecimal digits");
        return ExitCode::from(2);
    }
    let processes = fs::read_dir("/proc").expect("there is /proc");
    let pids = processes
        .flatten()
        .filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let mut killed = Vec::new();
    for pid in pids {
        // Who has ended meanwhile has no file.
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if !groups.contains(container) {
            continue;
        }
        match kill_9(pid) {
            Ok(()) => killed.push(pid),
            Err(error) => eprintln!("process {pid}: {error}"),
        }
    }
    println!("{}", json!({"killed": killed}));
    match killed.is_empty() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}
