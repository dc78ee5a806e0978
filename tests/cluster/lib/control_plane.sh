# etcd, API server, controller manager, scheduler and CoreDNS, all in the control plane's namespace.

control_plane() {
    local pki=$DIR/pki
    # What is lost with the machine's power need not be kept: without fsync everything is faster.
    start "$CONTROL" etcd "$BIN/etcd" --data-dir "$DIR/etcd" --unsafe-no-fsync \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380
    start "$CONTROL" kube-apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
        --bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$API" --service-cluster-ip-range="$SERVICES" \
        --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged \
        --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
        --kubelet-preferred-address-types=InternalIP \
        --service-account-issuer=https://kubernetes.default.svc \
        --service-account-key-file="$pki/service-accounts.pub" --service-account-signing-key-file="$pki/service-accounts.key" \
        --requestheader-client-ca-file="$pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
        --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
        --requestheader-extra-headers-prefix=X-Remote-Extra- \
        --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key" \
        --enable-aggregator-routing=true
    wait_for kube-apiserver kubectl get --raw /readyz
    # Two periods are shorter than Kubernetes' own (50 s and 15 s), as tests wait for them; and each controller may ask for more than
    # 20 things a second, as a test makes thousands of objects.
    start "$CONTROL" kube-controller-manager "$BIN/kube-controller-manager" --bind-address=127.0.0.1 --leader-elect=false \
        --kubeconfig="$DIR/controller-manager.conf" --authentication-kubeconfig="$DIR/controller-manager.conf" \
        --authorization-kubeconfig="$DIR/controller-manager.conf" --use-service-account-credentials \
        --root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/service-accounts.key" \
        --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" --allocate-node-cidrs=false \
        --kube-api-qps=200 --kube-api-burst=400 \
        --node-monitor-grace-period=20s --horizontal-pod-autoscaler-sync-period=5s
    start "$CONTROL" kube-scheduler "$BIN/kube-scheduler" --bind-address=127.0.0.1 --leader-elect=false \
        --kubeconfig="$DIR/scheduler.conf" --authentication-kubeconfig="$DIR/scheduler.conf" \
        --authorization-kubeconfig="$DIR/scheduler.conf"
    kubectl create clusterrolebinding natter-kube-proxy --clusterrole=system:node-proxier --user=system:kube-proxy >/dev/null
    dns
}

# Names of Services and pods; a headless Service shows a new pod after 2 s at the latest.
dns() {
    cat >"$DIR/Corefile" <<END
.:53 {
  bind $API
  errors
  kubernetes cluster.local {
    kubeconfig $DIR/admin.conf natter
    ttl 2
  }
}
END
    start "$CONTROL" coredns "$BIN/coredns" -conf "$DIR/Corefile"
}
