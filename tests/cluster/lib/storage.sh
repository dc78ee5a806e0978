# The default storage class `local`: 20 volumes on each node, which are folders there. They cannot grow, and serve one claim each.

# storage NODES
storage() {
    local i v
    {
        cat <<END
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
END
        for i in $(seq "$1"); do
            for v in $(seq 20); do
                mkdir -p "$DIR/n$i/volume$v"
                # Whoever a pod runs as may write there.
                chmod 777 "$DIR/n$i/volume$v"
                cat <<END
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: n$i-volume$v}
spec:
  capacity: {storage: 32Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: local
  local: {path: $DIR/n$i/volume$v}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n$i]}]
END
            done
        done
    } | kubectl apply -f - >/dev/null
}
