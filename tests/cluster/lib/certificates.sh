# Keys, certificates and kubeconfigs of a cluster, good for 30 days.

# authority NAME
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=natter-$1" \
        -keyout "$1.key" -out "$1.crt" 2>/dev/null
}

# certificate NAME AUTHORITY SUBJECT USAGE [ALTERNATIVE-NAMES]
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$3" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    { echo "extendedKeyUsage=$4"; [ -z "${5:-}" ] || echo "subjectAltName=$5"; } >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}

certificates() {
    (
        cd "$DIR/pki"
        authority ca
        authority front-proxy-ca
        openssl genrsa -out service-accounts.key 2048 2>/dev/null
        openssl rsa -in service-accounts.key -pubout -out service-accounts.pub 2>/dev/null
        local names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost
        certificate apiserver ca /CN=kube-apiserver serverAuth "$names,IP:$API_SERVICE,IP:$API,IP:127.0.0.1"
        certificate kubelet-client ca /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
        certificate front-proxy front-proxy-ca /CN=front-proxy-client clientAuth
        certificate admin ca /O=system:masters/CN=admin clientAuth
        certificate controller-manager ca /CN=system:kube-controller-manager clientAuth
        certificate scheduler ca /CN=system:kube-scheduler clientAuth
        certificate proxy ca /CN=system:kube-proxy clientAuth
    )
    for user in admin controller-manager scheduler proxy; do
        kubeconfig "$DIR/$user.conf" "$user"
    done
}

# node_certificates NUMBER
node_certificates() {
    (
        cd "$DIR/pki"
        certificate "kubelet-$1" ca "/O=system:nodes/CN=system:node:n$1" clientAuth
        certificate "node-$1" ca "/CN=n$1" serverAuth "IP:$(node_address "$1"),DNS:n$1"
    )
}

# kubeconfig FILE CERTIFICATE: with everything inside, so that the file alone is enough.
kubeconfig() {
    cat >"$1" <<END
apiVersion: v1
kind: Config
clusters:
- name: natter
  cluster:
    server: https://$API:6443
    certificate-authority-data: $(base64 -w0 "$DIR/pki/ca.crt")
users:
- name: $2
  user:
    client-certificate-data: $(base64 -w0 "$DIR/pki/$2.crt")
    client-key-data: $(base64 -w0 "$DIR/pki/$2.key")
contexts:
- name: natter
  context: {cluster: natter, user: $2}
current-context: natter
END
}
