"""The cases. Each is a function that takes a Bench and adds what it found."""

from .connects import connects
from .fan_out import one_room, small_rooms
from .inbound import inbound
from .memory import memory
from .peers import peers
from .stalled import stalled

ALL = {
    "one-room": one_room,
    "small-rooms": small_rooms,
    "memory": memory,
    "stalled": stalled,
    "inbound": inbound,
    "connects": connects,
    "peers": peers,
}
