#!/usr/bin/env bash
# Builds, pushes or tests the three images.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

services=(todolist user rule)

doctor docker buildx
cd "$root"

# An image for several platforms is an index, which only a registry can store: `push` uploads it.
several=
if [[ ${PLATFORMS:-} == *,* ]]; then
  several=1
  [ "$REGISTRY" != dev.local ] || die "images for several platforms need a registry: set REGISTRY"
fi

build_one() {
  local builder=(docker ${several:+buildx} build ${PLATFORMS:+--platform="$PLATFORMS"})
  # The base image, from a mirror.
  local base
  base=$(sed -n 's/^ARG BASE=//p' "services/$1/Dockerfile")
  # DOCKER_FLAGS is split into words: another base image, a proxy, a certificate as a secret.
  # shellcheck disable=SC2086
  DOCKER_BUILDKIT=1 "${builder[@]}" ${DOCKER_FLAGS:-} --file="services/$1/Dockerfile" --tag="$REGISTRY/$1:$TAG" \
    ${MIRROR:+--build-arg=BASE="${MIRROR%/}/$base"} --build-arg=VERSION="$TAG" --build-arg=REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" "${@:2}" .
}

# Our layers are those below /app and /opt; the others are the base image's.
print_size() {
  docker history --no-trunc --human=false --format='{{.Size}} {{.CreatedBy}}' "$REGISTRY/$1:$TAG" |
    awk -v image="$REGISTRY/$1:$TAG" '
      { total += $1 }
      / \/opt\/venv | \/app/ { ours += $1 }
      END { printf "%-40s %4d MB, %d MB of them over the base\n", image, total / 1e6, ours / 1e6 }'
}

build() {
  local service
  for service in "${services[@]}"; do
    say "building $service"
    build_one "$service" ${several:+--output=type=cacheonly}
  done
  if [ -n "$several" ]; then
    say "built for $PLATFORMS; \`make push\` sends them from the builder's cache to $REGISTRY"
    return
  fi
  for service in "${services[@]}"; do
    print_size "$service"
  done
}

# into_nodes IMAGE METHOD [NAME]: loads an image of dev.local into the nodes of a cluster.
into_nodes() {
  local archive=
  if [ "$2" = shared ]; then
    echo "$1 stays with Docker, whose images this cluster shares"
    return
  fi
  # Docker's containerd image store keeps an index of several platforms, of which only this one was built; loading the
  # whole index fails on the node ("content digest ... not found").
  if docker info --format='{{.DriverStatus}}' | grep io.containerd.snapshotter >/dev/null; then
    archive=$(mktemp -d)/image.tar
    docker save --platform="$(docker version --format='{{.Server.Os}}/{{.Server.Arch}}')" --output="$archive" "$1" ||
      die "this Docker keeps images in containerd's store, and is too old to save one platform of them: update Docker to 28 or" \
        "newer, or push to a registry that the cluster reaches, as \`make build push deploy REGISTRY=localhost:5001\` does" \
        "to the one of \`make cluster\`"
  fi
  case $2 in
    kind)
      if [ -n "$archive" ]; then
        kind load image-archive "$archive" --name="$3"
      else
        kind load docker-image "$1" --name="$3"
      fi
      ;;
    k3d) k3d image import "${archive:-$1}" --cluster="$3" ;;
    minikube) minikube image load "${archive:-$1}" --profile="$3" ;;
  esac
  [ -z "$archive" ] || rm -r "$(dirname "$archive")"
}

push() {
  local service way=
  if [ "$REGISTRY" = dev.local ] && [ -z "$several" ]; then
    need_cluster
    way=$(check platform images)
  fi
  for service in "${services[@]}"; do
    if [ -n "$several" ]; then
      say "pushing $REGISTRY/$service:$TAG"
      build_one "$service" --push
      continue
    fi
    docker image inspect "$REGISTRY/$service:$TAG" >/dev/null 2>&1 ||
      die "$REGISTRY/$service:$TAG does not exist: \`make build\` builds it"
    if [ -n "$way" ]; then
      # shellcheck disable=SC2086 # a way and a name are two words
      into_nodes "$REGISTRY/$service:$TAG" $way
    else
      docker push "$REGISTRY/$service:$TAG"
    fi
  done
}

test_images() {
  make .venv/dev.done
  exec .venv/bin/python -m pytest --numprocesses=0 --timeout=900 tests/images
}

"$1"
