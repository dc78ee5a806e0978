//! A small disk of a server's own, which a test can fill: a memory file system in a mount namespace that only the server
//! and the process that holds it open share.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(super) struct Disk {
    /// Keeps the namespace while the server is down.
    holder: Child,
    folder: PathBuf,
}

impl Disk {
    /// Mounts a disk of so many megabytes at `folder`, which has to exist.
    pub(super) fn mount(folder: &Path, megabytes: usize) -> Self {
        // What is read from the pipe says that the mount is done; `cat` ends when this process does.
        let script = r#"mount -t tmpfs -o "size=$1m" tmpfs "$0" && echo mounted && exec cat"#;
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg(folder)
            .arg(megabytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut line = String::new();
        let output = holder.stdout.take().expect("stdout is a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the pipe can be read");
        assert_eq!(
            line, "mounted\n",
            "this system must allow unprivileged user namespaces"
        );
        Self {
            holder,
            folder: folder.to_owned(),
        }
    }

    /// How to start a program that sees the disk.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.holder.id().to_string()])
            .args(["--user", "--preserve-credentials", "--mount", "--"])
            .arg(program);
        command
    }

    /// Takes all space that is left.
    pub(super) fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("the disk can be written to");
        let block = [1; 4096];
        let full = loop {
            if let Err(error) = ballast.write_all(&block) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }

    /// Gives back what `fill` took.
    pub(super) fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the disk was filled");
    }

    fn ballast(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        let folder = self.folder.strip_prefix("/").expect("an absolute path");
        Path::new(&root).join(folder).join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
