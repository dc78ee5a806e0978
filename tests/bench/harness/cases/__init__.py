"""The cases. Each is a function that takes a Bench and adds what it found."""

from .cluster_cpu import cluster_cpu
from .cluster_latency import cluster_latency
from .cluster_resume import cluster_resume
from .cluster_rooms import cluster_rooms
from .connects import connects
from .fan_out import one_room, small_rooms
from .inbound import inbound
from .memory import memory
from .memory_streams import memory_streams
from .peers import peers
from .stalled import stalled

ALL = {
    "one-room": one_room,
    "small-rooms": small_rooms,
    "memory": memory,
    "memory-streams": memory_streams,
    "stalled": stalled,
    "inbound": inbound,
    "connects": connects,
    "peers": peers,
    "cluster-latency": cluster_latency,
    "cluster-cpu": cluster_cpu,
    "cluster-rooms": cluster_rooms,
    "cluster-resume": cluster_resume,
}

# The cases of one node and those of a cluster: each has a table of its own in docs/performance.md.
CLUSTER = [name for name in ALL if name.startswith("cluster-")]
NODE = [name for name in ALL if name not in CLUSTER]
