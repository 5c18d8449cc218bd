#!/bin/sh
# Creates the Secrets of all sets, with random values, unless they exist: the databases' passwords, that of the account
# admin, and the key of the session tokens. Run by `make deploy`, and by hand to install a release without the
# repository. It needs only kubectl.
set -eu

namespace=${NAMESPACE:-todolist}

# make_secret NAME KEY COMMAND: creates a Secret with the output of the command. Through a pipe, as other processes can
# read command lines.
make_secret() {
  if [ -n "$(kubectl get secret "$1" --namespace="$namespace" --ignore-not-found --output=name)" ]; then
    return
  fi
  "$3" | kubectl create secret generic "$1" --namespace="$namespace" --from-file="$2=/dev/stdin"
  # The label by which `make undeploy` finds it in a namespace that it does not delete.
  kubectl label secret "$1" --namespace="$namespace" app.kubernetes.io/part-of=todolist >/dev/null
}

random_password() {
  head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n'
}

# As `openssl genpkey -algorithm ed25519`, without openssl: the 16-byte PKCS #8 header, and 32 random bytes, which are
# the key.
random_token_key() {
  echo "-----BEGIN PRIVATE KEY-----"
  { printf '\060\056\002\001\000\060\005\006\003\053\145\160\004\042\004\040'; head -c 32 /dev/urandom; } | base64
  echo "-----END PRIVATE KEY-----"
}

if [ -z "$(kubectl get namespace "$namespace" --ignore-not-found --output=name)" ]; then
  kubectl create namespace "$namespace"
fi
make_secret user-database password random_password
make_secret rule-database password random_password
make_secret user-token-key key.pem random_token_key
make_secret user-admin password random_password
