#!/usr/bin/env bash
# Builds, pushes or tests the three images.
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "$0")/lib.sh"

services=(todolist user rule)

doctor docker buildx
cd "$root"

# Several platforms make an index, which only a registry can hold: `push` sends it there.
several=
if [[ ${PLATFORMS:-} == *,* ]]; then
  several=1
  [ "$REGISTRY" != dev.local ] || die "images for several platforms need a registry: set REGISTRY"
fi

build_one() {
  local builder=(docker ${several:+buildx} build ${PLATFORMS:+--platform="$PLATFORMS"})
  # DOCKER_FLAGS is a list of words: another base, a proxy, a certificate as a secret.
  # shellcheck disable=SC2086
  DOCKER_BUILDKIT=1 "${builder[@]}" ${DOCKER_FLAGS:-} --file="services/$1/Dockerfile" --tag="$REGISTRY/$1:$TAG" \
    --build-arg=VERSION="$TAG" --build-arg=REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" "${@:2}" .
}

# A layer below /app or /opt is ours; the rest is the base.
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

push() {
  local service context
  context=$(kubectl config current-context 2>/dev/null || true)
  for service in "${services[@]}"; do
    if [ -n "$several" ]; then
      say "pushing $REGISTRY/$service:$TAG"
      build_one "$service" --push
      continue
    fi
    docker image inspect "$REGISTRY/$service:$TAG" >/dev/null 2>&1 ||
      die "$REGISTRY/$service:$TAG does not exist: \`make build\` builds it"
    case $REGISTRY/$context in
      dev.local/kind-*) kind load docker-image "$REGISTRY/$service:$TAG" --name="${context#kind-}" ;;
      dev.local/minikube) minikube image load "$REGISTRY/$service:$TAG" ;;
      dev.local/*) echo "$REGISTRY/$service:$TAG stays with Docker, whose images this cluster is taken to share" ;;
      *) docker push "$REGISTRY/$service:$TAG" ;;
    esac
  done
}

test_images() {
  make .venv/dev.done
  exec .venv/bin/python -m pytest --numprocesses=0 --timeout=900 tests/images
}

"$1"
