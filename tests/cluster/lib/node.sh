# One node: containerd, kubelet and kube-proxy in a network namespace of their own.

# containerd's socket, of which the path may have 107 bytes, and its mounts.
node_run() { echo "$RUN/n$1"; }

ctr() { "$BIN/ctr" --address "$(node_run "$1")/containerd.sock" --namespace k8s.io "${@:2}"; }

# node NUMBER
node() {
    local i=$1 dir=$DIR/n$1 net run
    net=$(node_net "$i")
    run=$(node_run "$i")
    mkdir -p "$dir/cni" "$dir/kubelet" "$run"
    node_certificates "$i"
    kubeconfig "$dir/kubeconfig" "kubelet-$i"
    cgroups "$i"
    pod_network "$i" >"$dir/cni/10-natter.conflist"
    containerd_config "$i" >"$dir/containerd.toml"
    kubelet_config "$i" >"$dir/kubelet.yaml"
    proxy_config "$i" >"$dir/proxy.yaml"
    start "$net" "containerd-n$i" env PATH="$BIN:$PATH" "$BIN/containerd" --config "$dir/containerd.toml"
    wait_for "containerd-n$i" ctr "$i" version
    start "$net" "kubelet-n$i" "$BIN/kubelet" --config "$dir/kubelet.yaml" --kubeconfig "$dir/kubeconfig" \
        --hostname-override "n$i" --node-ip "$(node_address "$i")" --root-dir "$dir/kubelet" \
        --node-labels "topology.kubernetes.io/zone=z$i"
    start "$net" "kube-proxy-n$i" "$BIN/kube-proxy" --config "$dir/proxy.yaml"
}

cgroup_name() { echo "natter-$NAME-n$1"; }

# A kubelet does not make its own root. With version 1 it is a folder for each controller, and cpuset starts out empty.
cgroups() {
    local root=/sys/fs/cgroup controller name
    name=$(cgroup_name "$1")
    if [ -e $root/cgroup.controllers ]; then
        for controller in cpu cpuset memory pids; do
            echo "+$controller" >$root/cgroup.subtree_control || true
        done
        mkdir -p "$root/$name"
        return
    fi
    for controller in cpu cpuacct cpuset memory devices freezer blkio pids hugetlb systemd; do
        [ ! -d "$root/$controller" ] || mkdir -p "$root/$controller/$name"
    done
    cat $root/cpuset/cpuset.cpus >"$root/cpuset/$name/cpuset.cpus"
    cat $root/cpuset/cpuset.mems >"$root/cpuset/$name/cpuset.mems"
}

pod_network() {
    cat <<END
{"cniVersion": "1.0.0", "name": "natter", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$DIR/n$1/addresses",
            "ranges": [[{"subnet": "$(node_pods "$1")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
END
}

containerd_config() {
    cat <<END
version = 3
root = "$DIR/n$1/containerd"
state = "$(node_run "$1")/containerd"
[grpc]
  address = "$(node_run "$1")/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "natter.dev/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  netns_mounts_under_state_dir = true
  # Root in a container may lack CAP_SYS_RESOURCE; without this runc then fails to start any pod.
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["$BIN"]
  conf_dir = "$DIR/n$1/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
END
}

kubelet_config() {
    cat <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $DIR/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $DIR/pki/node-$1.crt
tlsPrivateKeyFile: $DIR/pki/node-$1.key
containerRuntimeEndpoint: unix://$(node_run "$1")/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$(cgroup_name "$1")
# Machines with cgroups of version 1 are refused otherwise.
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
clusterDNS: ["$API"]
clusterDomain: cluster.local
resolvConf: ""
# Its own: a kubelet removes the logs of pods that it does not know, those of other nodes too.
podLogsDir: $DIR/n$1/logs
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
# The images came by \`load\` and come back by nothing else.
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 4s
END
}

proxy_config() {
    cat <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $DIR/proxy.conf}
clusterCIDR: $PODS
mode: iptables
hostnameOverride: n$1
conntrack: {maxPerCore: 0}
END
}

# load ARCHIVE: an image into every node.
load() {
    local folder said
    [ -r "$1" ] || fail "there is no image archive $1"
    for folder in "$DIR"/n[0-9]*; do
        said=$(ctr "${folder##*/n}" images import "$1" 2>&1) || fail "could not load $1 into ${folder##*/}: $said"
    done
}

# Removes the containers of a node. Who stops containerd alone leaves them running.
containers_down() {
    local task
    [ -S "$(node_run "$1")/containerd.sock" ] || return 0
    for task in $(ctr "$1" tasks list -q 2>/dev/null); do
        ctr "$1" tasks delete --force "$task" >/dev/null 2>&1 || true
    done
}

cgroups_down() {
    local folder
    for folder in /sys/fs/cgroup/"natter-$NAME-n"* /sys/fs/cgroup/*/"natter-$NAME-n"*; do
        [ ! -d "$folder" ] || find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
}
