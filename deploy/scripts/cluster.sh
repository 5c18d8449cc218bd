#!/usr/bin/env bash
# Creates a kind cluster and a registry that its nodes can pull from, or deletes both.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

name=todolist
registry=todolist-registry
port=5001

create() {
  doctor kubectl kind-version
  if ! docker inspect "$registry" >/dev/null 2>&1; then
    say "starting the registry localhost:$port"
    docker run --detach --restart=always --publish="127.0.0.1:$port:5000" --name="$registry" \
      "${MIRROR:+${MIRROR%/}/}docker.io/library/registry:3"
  fi

  if ! exists_here; then
    say "creating the cluster $name"
    kind create cluster --name="$name" --wait=120s
  fi
  kubectl config use-context "kind-$name" >/dev/null
  # An existing cluster may be too old.
  doctor kubernetes

  # To a node, localhost is the node itself: point it at the registry's container for this name.
  local node hosts=/etc/containerd/certs.d/localhost:$port
  for node in $(kind get nodes --name="$name"); do
    docker exec "$node" mkdir -p "$hosts"
    docker exec --interactive "$node" cp /dev/stdin "$hosts/hosts.toml" <<<"[host.\"http://$registry:5000\"]"
  done
  docker network connect kind "$registry" 2>/dev/null || true

  say "the cluster is ready; next: make install-istio"
  echo "Images go into it with \`make push\`, or through its registry with REGISTRY=localhost:$port."
}

delete() {
  if exists_here; then
    local volumes
    volumes=$(kubectl get persistentvolumeclaims --all-namespaces --context="kind-$name" \
      --output=jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}' 2>/dev/null | xargs || true)
    if [ -n "$volumes" ]; then
      confirm "The cluster $name has data in the volumes $volumes. Delete them with it?" ||
        die "the cluster $name stays, because of its volumes $volumes: VOLUMES=delete deletes it without a question"
    fi
    kind delete cluster --name="$name"
  fi
  docker rm --force --volumes "$registry" >/dev/null 2>&1 || true
  say "the cluster $name and its registry are deleted"
}

exists_here() {
  kind get clusters 2>/dev/null | grep -qx "$name"
}

doctor docker kind
"$1"
