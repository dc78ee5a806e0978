#!/usr/bin/env bash
# Builds Kubernetes and what it runs on from the Go module proxy, unless it is there: build.sh FOLDER [PROGRAM...]
#
# Modules pin every version by go.mod and go.sum: `kubernetes` what comes from k8s.io/kubernetes, `tools` the rest of a cluster, `prometheus`
# its promtool. They are apart, as each needs other versions of the same libraries. With PROGRAMs (`helm promtool`) only those are built.
# The first time takes about 10 minutes on two cores, then Go's build cache has everything. GOMAXPROCS and GOFLAGS=-p=1 make it gentler.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
bin=$(cd "$1" && pwd)
shift
export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -mod=readonly -trimpath -buildvcs=false"

if ! command -v go >/dev/null; then
    echo "missing: Go 1.26 or newer, to build Kubernetes (https://go.dev/dl)" >&2
    exit 1
fi

# What was built is what these files say.
wanted() { cat "$here/build.sh" "$here/$1"/go.{mod,sum} | sha256sum; }

# Builds every tool of a module, or one: build MODULE LDFLAGS [PROGRAM]
build() {
    local module=$1 ldflags=$2
    shift 2
    local packages=(tool) stamp=$bin/.built-$module${1:+-$1} wanted
    wanted=$(wanted "$module")
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] || [ "$(cat "$bin/.built-$module" 2>/dev/null)" = "$wanted" ]; then
        echo "$bin has ${1:-every program} of $module"
        return
    fi
    [ -z "${1:-}" ] || packages=("$(cd "$here/$module" && go list tool | grep -E "/$1(/v[0-9]+)?\$")")
    local begun=$SECONDS
    echo "building ${1:-every program} of $module"
    go build -C "$here/$module" -o "$bin/" -ldflags "-s -w $ldflags" "${packages[@]}"
    # The package of etcd's server is called by its last word.
    [ ! -e "$bin/server" ] || mv "$bin/server" "$bin/etcd"
    echo "$wanted" >"$stamp"
    echo "built ${1:-every program} of $module in $((SECONDS - begun)) s"
}

if [ $# -gt 0 ]; then
    for program in "$@"; do
        module=tools
        [ "$program" != promtool ] || module=prometheus
        build "$module" "" "$program"
    done
    exit
fi

# A server that does not know its version is 0.0.0, and clients take it at its word.
version=$(awk '$2 == "k8s.io/kubernetes" { print $3 } $1 == "k8s.io/kubernetes" { print $2 }' "$here/kubernetes/go.mod" | head -n 1)
IFS=. read -r major minor _ <<<"${version#v}"
package=k8s.io/component-base/version
build kubernetes "-X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
build tools ""

# The container that holds a pod's namespaces, in 800 KB instead of an image from a registry.
if [ ! -x "$bin/pause" ] || [ "$here/pause.c" -nt "$bin/pause" ]; then
    cc -O2 -static -o "$bin/pause" "$here/pause.c"
fi
# Without stages kwok does nothing: those of its own "fast" kind, where a pod is ready as soon as it is bound.
stages=$(cd "$here/tools" && go list -m -f '{{.Dir}}' sigs.k8s.io/kwok)/kustomize/stage
for stage in node/fast/node-initialize node/heartbeat/node-heartbeat pod/fast/pod-ready pod/fast/pod-complete pod/fast/pod-delete; do
    echo ---
    cat "$stages/$stage.yaml"
done >"$bin/kwok.yaml"
echo "Kubernetes $version is in $bin"
