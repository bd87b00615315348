"""Whether a file lies on a network file system, where SQLite's write-ahead log is not safe."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

NETWORK_KINDS = frozenset(
    {
        "9p", "acfs", "afp", "afpfs", "afs", "beegfs", "ceph", "cephfs", "cifs", "coda", "davfs",
        "fhgfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.cephfs", "fuse.davfs2", "fuse.gcsfuse",
        "fuse.glusterfs", "fuse.goofys", "fuse.juicefs", "fuse.mount-s3", "fuse.rclone",
        "fuse.s3fs", "fuse.seaweedfs", "fuse.smbnetfs", "fuse.sshfs", "fuse.vmhgfs-fuse", "gfs2",
        "glusterfs", "gpfs", "lustre", "mmfs", "ncpfs", "nfs", "nfs3", "nfs4", "ocfs2", "orangefs",
        "panfs", "prl_fs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "sshfs", "vboxsf", "webdav",
        "wekafs",
    }
)  # fmt: skip
"""Kinds whose shared memory or locks do not reach from one machine to another."""


@dataclass(frozen=True)
class Mount:
    """A mounted file system."""

    point: Path
    kind: str


def network_mount(path: Path, mounts: Iterable[Mount]) -> Mount | None:
    """Return the network file system on which a path lies, or None when it is a local one.

    Args:
        path: A file or folder; need not exist; links are followed.
        mounts: The mount table, in the order in which things were mounted.
    """
    real = path.resolve()
    under: Mount | None = None
    for mount in mounts:
        longest = under is None or len(mount.point.parts) >= len(under.point.parts)
        if longest and real.is_relative_to(mount.point):
            under = mount
    return under if under is not None and under.kind.lower() in NETWORK_KINDS else None


def mount_table() -> list[Mount]:
    """Return what is mounted on this machine, in the order in which it was mounted."""
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return _portable_table()
    return read_mountinfo(lines)


def read_mountinfo(text: str) -> list[Mount]:
    """Read Linux's ``mountinfo``: the fifth field is the point, the first after `-` the kind."""
    mounts = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        if dash:
            mounts.append(Mount(Path(_unescape(before.split()[4])), after.split()[0]))
    return mounts


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _portable_table() -> list[Mount]:
    import psutil

    return [Mount(Path(part.mountpoint), part.fstype) for part in psutil.disk_partitions(all=True)]
