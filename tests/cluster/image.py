"""Writes an OCI image archive from files, without a registry or a daemon.

image.py OUT NAME:TAG[,NAME:TAG...] ENTRYPOINT SOURCE=TARGET...

One layer; runs as 65532, the user that distroless images call nonroot. The same files give the same image, byte by byte.
"""

import hashlib
import io
import json
import platform
import sys
import tarfile

USER = "65532:65532"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def layer(pairs):
    """A tar with the files of `pairs`, and the folders above them, owned by root."""
    out = io.BytesIO()
    folders = set()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for pair in pairs:
            source, target = pair.split("=", 1)
            parts = target.strip("/").split("/")
            for depth in range(1, len(parts)):
                folder = "/".join(parts[:depth])
                if folder not in folders:
                    folders.add(folder)
                    entry = tarfile.TarInfo(folder)
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
            with open(source, "rb") as file:
                entry = tarfile.TarInfo("/".join(parts))
                entry.size, entry.mode = len(file.read()), 0o755
                file.seek(0)
                tar.addfile(entry, file)
    return out.getvalue()


class Archive:
    """Blobs by their digest, and the index that names them."""

    def __init__(self):
        self.blobs = {}

    def add(self, content, media_type):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def write(self, path, index):
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
        files |= {f"blobs/sha256/{digest}": content for digest, content in self.blobs.items()}
        with tarfile.open(path, "w") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def main(out, names, entrypoint, *pairs):
    archive = Archive()
    files = archive.add(layer(pairs), "application/vnd.oci.image.layer.v1.tar")
    config = {
        "architecture": MACHINES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": [entrypoint], "User": USER, "Env": ["PATH=/"]},
        "rootfs": {"type": "layers", "diff_ids": [files["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": archive.add(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [files],
    }
    image = archive.add(manifest, "application/vnd.oci.image.manifest.v1+json")
    # containerd reads the first name, others the second.
    named = [
        image | {"annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}}
        for name in names.split(",")
    ]
    archive.write(out, {"schemaVersion": 2, "manifests": named})


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
