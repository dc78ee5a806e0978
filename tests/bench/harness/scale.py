"""How much of everything: the full run, and the smoke run that only shows that each case works."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    rounds: int
    # At most so many times as many, to get `rounds` that others did not disturb.
    patience: int
    slice_seconds: float
    warm_seconds: float
    members: int
    room_size: int
    open_loop_deliveries: int
    memory_base: int
    memory_members: int
    memory_streams: int
    memory_peers: int
    settle_seconds: float
    live_members: int
    publishers: int
    storm: int
    peer_members: int
    peer_rounds: int
    sweep: tuple[int, ...]
    cluster_sizes: tuple[int, ...]
    cluster_rates: tuple[int, ...]
    cluster_rooms: int
    cluster_rounds: int
    cluster_seconds: float
    flood: int
    joined_rooms: int
    join_rounds: int
    resume_members: int
    resume_rooms: int
    resume_messages: int
    resume_rate: int
    resume_rounds: int
    # So long a member stays away from a node that holds so few messages of a shard.
    resume_away_seconds: float
    resume_short_log: int


FULL = Scale(
    rounds=12,
    patience=2,
    slice_seconds=0.3,
    warm_seconds=1.0,
    members=2000,
    room_size=20,
    open_loop_deliveries=40_000,
    memory_base=200,
    memory_members=9000,
    memory_streams=4000,
    memory_peers=3000,
    settle_seconds=1.5,
    live_members=1000,
    publishers=256,
    storm=1000,
    peer_members=1000,
    peer_rounds=6,
    sweep=(50_000, 150_000, 400_000),
    cluster_sizes=(1, 3),
    cluster_rates=(500, 2000),
    cluster_rooms=200,
    cluster_rounds=10,
    cluster_seconds=2.0,
    flood=10_000,
    joined_rooms=10_000,
    join_rounds=3,
    resume_members=2000,
    resume_rooms=100,
    resume_messages=20_000,
    resume_rate=2000,
    resume_rounds=3,
    resume_away_seconds=5.0,
    resume_short_log=500,
)

SMOKE = Scale(
    rounds=1,
    patience=1,
    slice_seconds=0.05,
    warm_seconds=0.05,
    members=100,
    room_size=20,
    open_loop_deliveries=4_000,
    memory_base=20,
    memory_members=100,
    memory_streams=100,
    memory_peers=60,
    settle_seconds=0.1,
    live_members=100,
    publishers=8,
    storm=50,
    peer_members=50,
    peer_rounds=1,
    sweep=(2_000,),
    cluster_sizes=(1,),
    cluster_rates=(200,),
    cluster_rooms=10,
    cluster_rounds=1,
    cluster_seconds=0.2,
    flood=200,
    joined_rooms=1000,
    join_rounds=1,
    resume_members=40,
    resume_rooms=10,
    resume_messages=300,
    resume_rate=300,
    resume_rounds=1,
    resume_away_seconds=0.3,
    resume_short_log=2,
)
