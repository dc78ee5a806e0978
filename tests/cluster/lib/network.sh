# The network of a cluster: a namespace for the control plane with a bridge, one for each node on a cable to it.
#
#   198.18.0.1        API server and DNS        198.18.0.11, .12 …    nodes
#   198.18.2.0/24     clients of tests
#   198.18.64.0/18    Services                  198.18.129.0/24 …     pods of node 1 …
#   198.19.0.0/16     pods that are only pretended, by kwok: nobody answers there
#
# 198.18.0.0/15 is for tests of networks. Every cluster has the same addresses, as no cable leads out of its namespaces.

API=198.18.0.1
SERVICES=198.18.64.0/18
API_SERVICE=198.18.64.1
CLIENTS=198.18.2.0/24
PODS=198.18.128.0/17
PRETENDED=198.19.0.0/16

node_address() { echo "198.18.0.$((10 + $1))"; }
node_pods() { echo "198.18.$((128 + $1)).0/24"; }
node_net() { echo "natter-$NAME-n$1"; }

# network NODES
network() {
    local nodes=$1 i j
    ip netns add "$CONTROL"
    in_net "$CONTROL" ip link set lo up
    in_net "$CONTROL" ip link add bridge type bridge
    in_net "$CONTROL" ip address add "$API/18" dev bridge
    in_net "$CONTROL" ip link set bridge up
    in_net "$CONTROL" sysctl -qw net.ipv4.ip_forward=1
    for i in $(seq "$nodes"); do
        ip netns add "$(node_net "$i")"
        in_net "$(node_net "$i")" ip link set lo up
        ip link add "node$i" netns "$CONTROL" type veth peer name eth0 netns "$(node_net "$i")"
        in_net "$CONTROL" ip link set "node$i" master bridge up
        in_net "$(node_net "$i")" ip address add "$(node_address "$i")/18" dev eth0
        in_net "$(node_net "$i")" ip link set eth0 up
        in_net "$(node_net "$i")" ip route add default via "$API"
        in_net "$(node_net "$i")" sysctl -qw net.ipv4.ip_forward=1
        # Pods of one node reach each other through a bridge; their Service addresses are translated only if it asks iptables.
        in_net "$(node_net "$i")" sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
        in_net "$CONTROL" ip route add "$(node_pods "$i")" via "$(node_address "$i")"
    done
    for i in $(seq "$nodes"); do
        for j in $(seq "$nodes"); do
            [ "$i" = "$j" ] || in_net "$(node_net "$i")" ip route add "$(node_pods "$j")" via "$(node_address "$j")"
        done
    done
    # What is sent there is lost without a word, as at machines that hang.
    in_net "$CONTROL" ip route add blackhole "$PRETENDED"
    # The control plane, and tests that run beside it, reach Services by the kube-proxy of node 1.
    in_net "$CONTROL" ip route add "$SERVICES" via "$(node_address 1)"
    # All of these are its own: a test may be as many clients, whom a Service tells apart by their addresses.
    in_net "$CONTROL" ip route add local "$CLIENTS" dev lo
}

network_down() {
    local namespace
    for namespace in $(ip netns list 2>/dev/null | awk -v prefix="natter-$NAME-" 'index($1, prefix) == 1 { print $1 }'); do
        ip netns delete "$namespace" || true
    done
}
