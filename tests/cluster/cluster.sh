#!/usr/bin/env bash
# A real Kubernetes on this machine, from plain processes in network namespaces of their own: no daemon, no image registry.
#
#   cluster.sh [-n NAME] up [NODES]       start one with so many nodes (3), each in a zone of its own
#   cluster.sh [-n NAME] load ARCHIVE     put an image into every node
#   cluster.sh [-n NAME] kubectl ARG...   kubectl, as its administrator
#   cluster.sh [-n NAME] exec COMMAND...  run a command in its network, with KUBECONFIG, kubectl and helm, and many addresses
#   cluster.sh [-n NAME] down             stop it and remove everything of it
#   cluster.sh list                       names of those that are there
#   cluster.sh check                      can this machine run one? If not, says why
#
# Clusters of different names run side by side. State and logs are in target/cluster/run/NAME, programs in target/cluster/bin.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/../.." && pwd)/target/cluster
BIN=$target/bin
NAME=dev

usage() {
    sed -n '2,/^set/s/^#\( \|$\)//p' "$0" >&2
    exit 2
}

while getopts n: option; do
    [ "$option" = n ] || usage
    NAME=$OPTARG
done
shift $((OPTIND - 1))
[[ $NAME =~ ^[a-z][a-z0-9]{0,11}$ ]] || { echo "'$NAME' is no name of a cluster: 1 to 12 letters a-z and digits, a letter first" >&2; exit 2; }
DIR=$target/run/$NAME
RUN=/run/natter/$NAME
CONTROL=natter-$NAME-control

for part in process certificates network control_plane node storage; do
    # shellcheck source=/dev/null
    source "$here/lib/$part.sh"
done

kubectl() { in_net "$CONTROL" "$BIN/kubectl" --kubeconfig "$DIR/admin.conf" "$@"; }

needs_root() { [ "$(id -u)" = 0 ] || fail "needs root, for network namespaces, mounts and cgroups"; }

needs_cluster() { [ -e "$DIR/admin.conf" ] || fail "is not there; start it with: $0 -n $NAME up"; }

# What comes from Debian, installed when it is missing.
needs_packages() {
    local need missing=()
    for need in runc:runc iptables:iptables ip:iproute2 conntrack:conntrack ipset:ipset modprobe:kmod openssl:openssl sysctl:procps nsenter:util-linux; do
        command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
    done
    [ ${#missing[@]} = 0 ] || "$here/../setup/apt.sh" "${missing[@]}"
}

# What the kernel must let a process do, tried in namespaces that are gone with it.
needs_kernel() {
    local folder=$target/check cgroup
    unshare --net sh -ec 'ip link add veth1 type veth peer name veth2; ip link add bridge1 type bridge; iptables -t nat -A POSTROUTING -j MASQUERADE' ||
        fail "network namespaces cannot have bridges, veth pairs and iptables here"
    mkdir -p "$folder"/{lower,upper,work,merged}
    unshare --mount mount -t overlay overlay -o "lowerdir=$folder/lower,upperdir=$folder/upper,workdir=$folder/work" "$folder/merged" ||
        fail "overlay file systems cannot be mounted in $folder"
    rm -rf "$folder"
    for cgroup in /sys/fs/cgroup /sys/fs/cgroup/memory; do
        [ ! -e "$cgroup/cgroup.procs" ] || { mkdir "$cgroup/natter-check" && rmdir "$cgroup/natter-check"; } ||
            fail "cgroups cannot be made in $cgroup"
    done
    [ "$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)" -gt 3000000 ] || fail "needs 3 GB of free memory"
}

up() {
    local nodes=$1 begun=$SECONDS i
    [[ $nodes =~ ^[1-9]$ ]] || fail "'$nodes' is no number of nodes: 1 to 9"
    needs_root
    needs_packages
    [ -x "$BIN/kubelet" ] || fail "its programs are not built; build them with: $here/build.sh $BIN"
    [ ! -e "$DIR" ] || fail "is there already; remove it with: $0 -n $NAME down"
    [ ! -e "/run/netns/$CONTROL" ] || fail "another checkout has one of this name; choose another with -n"
    mkdir -p "$DIR"/{log,pid,pki}
    trap '[ $? = 0 ] || echo "logs are in $DIR/log; remove what is there with: $0 -n $NAME down" >&2' EXIT
    log "cluster '$NAME': $nodes nodes, state in $DIR"
    network "$nodes"
    certificates
    control_plane
    for i in $(seq "$nodes"); do
        node "$i"
    done
    storage "$nodes"
    python3 "$here/image.py" "$DIR/pause.tar" natter.dev/pause:1 /pause "$BIN/pause=/pause"
    load "$DIR/pause.tar"
    wait_for nodes all_ready "$nodes"
    # Without it a first pod in the default namespace is refused.
    wait_for default-account kubectl get serviceaccount default
    log "cluster '$NAME' is up after $((SECONDS - begun)) s: $0 -n $NAME kubectl get nodes"
}

all_ready() { [ "$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" = "$1" ]; }

down() {
    local begun=$SECONDS folder
    needs_root
    # In this order: nobody starts containers any more, containers end, then who ran them.
    stop "$DIR"/pid/{kubelet,kube-proxy}-*
    for folder in "$DIR"/n[0-9]*; do containers_down "${folder##*/n}"; done
    stop "$DIR"/pid/*
    awk -v dir="$DIR/" -v run="$RUN/" 'index($2, dir) == 1 || index($2, run) == 1 { print $2 }' /proc/mounts |
        sort -r | xargs -r umount --lazy || true
    network_down
    cgroups_down
    find /var/log/containers -lname "$DIR/*" -delete 2>/dev/null || true
    rm -rf "$DIR" "$RUN"
    log "cluster '$NAME' is gone after $((SECONDS - begun)) s"
}

command=${1:-}
shift || usage
case $command in
up) up "${1:-3}" ;;
down) down ;;
load) needs_cluster; load "${1:?an image archive}" ;;
kubectl) needs_cluster; kubectl "$@" ;;
exec) needs_cluster; in_net "$CONTROL" env KUBECONFIG="$DIR/admin.conf" NATTER_CLIENT_ADDRESSES="$CLIENTS" PATH="$BIN:$PATH" "$@" ;;
list) ls "$target/run" 2>/dev/null || true ;;
check) needs_root; needs_packages; needs_kernel ;;
*) usage ;;
esac
