# URLs of the projects' own release files, in the versions of versions.mk. install.sh applies them, uninstall.sh deletes
# their objects.
# shellcheck shell=bash
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# shellcheck disable=SC2034 # the scripts use them
{
  gateway_api=https://github.com/kubernetes-sigs/gateway-api/releases/download/$GATEWAY_API_VERSION/standard-install.yaml
  serving=https://github.com/knative/serving/releases/download/knative-v$KNATIVE_VERSION
  eventing=https://github.com/knative/eventing/releases/download/knative-v$KNATIVE_VERSION
  net_istio=https://github.com/knative-extensions/net-istio/releases/download/knative-v$KNATIVE_VERSION/net-istio.yaml
  istio_release=$build/istio-$ISTIO_VERSION
  istioctl=$istio_release/bin/istioctl
  addons=$istio_release/samples/addons
}

# fetch_yaml URL|FILE: prints it, with MIRROR= before the name of each image. A name without a registry is on Docker
# Hub.
fetch_yaml() {
  {
    case $1 in
      https://*) curl --fail --silent --show-error --location "$1" ;;
      *) cat "$1" ;;
    esac
  } | if [ -n "${MIRROR:-}" ]; then
    # image: in a container, queue-sidecar-image: in Knative's configuration.
    sed -E -e "s,^( *(- )?(queue-sidecar-)?image: *['\"]?)([a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]+)?/),\1${MIRROR%/}/\4," \
      -e "t" -e "s,^( *(- )?(queue-sidecar-)?image: *['\"]?)([a-z0-9-]+/[a-z0-9]),\1${MIRROR%/}/docker.io/\4,"
  else
    cat
  fi
}

# The Helm release of an object in istio-system, or nothing.
helm_release() {
  kubectl get "$1" --namespace=istio-system --ignore-not-found \
    --output=jsonpath='{.metadata.annotations.meta\.helm\.sh/release-name}' 2>/dev/null || true
}

# The official archive contains istioctl and the add-ons' manifests.
download_istio() {
  [ -x "$istioctl" ] && return
  doctor curl
  local os arch archive url
  case $(uname -s) in
    Darwin) os=osx ;;
    *) os=linux ;;
  esac
  case $(uname -m) in
    arm64 | aarch64) arch=arm64 ;;
    *) arch=amd64 ;;
  esac
  archive=istio-$ISTIO_VERSION-$os-$arch.tar.gz
  url=https://github.com/istio/istio/releases/download/$ISTIO_VERSION/$archive
  say "downloading Istio $ISTIO_VERSION"
  mkdir -p "$build"
  curl --fail --silent --show-error --location --output "$build/$archive" "$url"
  curl --fail --silent --show-error --location --output "$build/$archive.sha256" "$url.sha256"
  (cd "$build" && { sha256sum --check --status "$archive.sha256" 2>/dev/null || shasum -a 256 --check "$archive.sha256"; }) ||
    die "the download of $archive does not match its checksum: try again"
  tar -xzf "$build/$archive" -C "$build"
  rm "$build/$archive" "$build/$archive.sha256"
}
