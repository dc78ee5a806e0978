#!/usr/bin/env bash
# A cluster on this machine: three nats-servers and two nodes, until Ctrl-C. dev.sh NODE NATS_SERVER FOLDER [NODE'S FLAGS …]
set -euo pipefail

node=$1
nats_server=$2
folder=$3
shift 3

servers=(1 2 3)
client_port() { echo $((4221 + $1)); }
route_port() { echo $((6221 + $1)); }
monitor_port() { echo $((8221 + $1)); }

mkdir -p "$folder"
processes=()
stop() {
    trap - EXIT INT TERM
    # Nodes first: they tell their clients, and the servers keep what they still publish.
    for ((i = ${#processes[@]} - 1; i >= 0; i--)); do
        kill "${processes[i]}" 2>/dev/null || true
        wait "${processes[i]}" 2>/dev/null || true
    done
}
trap stop EXIT
trap 'exit 130' INT TERM

if [ ! -f "$folder/users/accounts.conf" ]; then
    "$node" nats users --directory "$folder/users" >/dev/null
fi
urls=""
routes=""
for i in "${servers[@]}"; do
    urls+="${urls:+,}nats://127.0.0.1:$(client_port "$i")"
    routes+="${routes:+, }nats://127.0.0.1:$(route_port "$i")"
done
for i in "${servers[@]}"; do
    cat >"$folder/nats-$i.conf" <<CONF
server_name: nats-$i
listen: 127.0.0.1:$(client_port "$i")
http: 127.0.0.1:$(monitor_port "$i")
jetstream { store_dir: "$folder/nats-$i", sync_interval: always }
cluster { name: natter, listen: 127.0.0.1:$(route_port "$i"), routes: [ $routes ] }
ping_interval: 10s
ping_max: 2
include "users/accounts.conf"
CONF
    "$nats_server" -c "$folder/nats-$i.conf" >"$folder/nats-$i.log" 2>&1 &
    processes+=($!)
done
echo "NATS: three servers, logs and data in $folder"
sleep 1 # Or the next command would begin by saying that nobody answers yet.
"$node" nats init --nats-url "$urls" --nats-credentials "$folder/users/operator.nk" --replicas 3

for port in 8080 8081; do
    "$node" --nats-url "$urls" --nats-credentials "$folder/users/node.nk" --node-name "node-$port" \
        --listen "127.0.0.1:$port" --admin-listen "127.0.0.1:$((port + 1010))" "$@" &
    processes+=($!)
done
# Whoever ends first ends the rest.
wait -n
