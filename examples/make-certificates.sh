#!/usr/bin/env bash
# Makes the certificates of examples/gateways anew. Every private key lives in a temporary directory and is thrown away:
# the examples show what to commit, and a key is never part of that.
set -euo pipefail
cd "$(dirname "$0")/gateways"
keys=$(mktemp -d)
trap 'rm -rf "$keys"' EXIT
days=7300

# root NAME SUBJECT FILE: a self-signed root CA
root() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" -subj "$2" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$keys/$1.key" -out "$3" 2>/dev/null
  cp "$3" "$keys/$1.pem"
}

# issuing NAME PARENT SUBJECT FILE: an intermediate CA signed by PARENT
issuing() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$3" \
    -keyout "$keys/$1.key" -out "$keys/$1.csr" 2>/dev/null
  printf '%s\n' "basicConstraints=critical,CA:TRUE,pathlen:0" "keyUsage=critical,keyCertSign,cRLSign" \
    "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid:always" >"$keys/$1.ext"
  openssl x509 -req -in "$keys/$1.csr" -CA "$keys/$2.pem" -CAkey "$keys/$2.key" -CAcreateserial -days "$days" \
    -extfile "$keys/$1.ext" -out "$4" 2>/dev/null
  cp "$4" "$keys/$1.pem"
}

# A self-signed server certificate, made with the command of the ContextForge guide.
openssl req -x509 -newkey rsa:4096 -nodes -days "$days" -subj "/CN=search.internal.example" \
  -addext "subjectAltName=DNS:search.internal.example" -keyout "$keys/search.key" -out search.pem 2>/dev/null

# A root and an intermediate in two files.
root payments "/O=Example Payments/CN=Payments Root CA" payments-root.pem
issuing payments-issuing payments "/O=Example Payments/CN=Payments Issuing CA 1" payments-issuing.pem

# One file with the whole chain, in the order a server would send it: the reconciler puts the root first.
root inventory "/O=Example Inventory/CN=Inventory Root CA" "$keys/chain-root.pem"
issuing inventory-issuing inventory "/O=Example Inventory/CN=Inventory Issuing CA" "$keys/chain-issuing.pem"
cat "$keys/chain-issuing.pem" "$keys/chain-root.pem" >inventory-chain.pem

# The CA of an intranet, used by several gateways of one team.
root corporate "/O=Example Corp/CN=Example Corp Root CA G2" corporate-root.crt

# What OpenShift's service CA operator publishes as service-ca.crt, during a rotation: the new CA and the old one.
root service-ca-new "/CN=openshift-service-serving-signer@1774000000" "$keys/new.pem"
root service-ca-old "/CN=openshift-service-serving-signer@1708000000" "$keys/old.pem"
cat "$keys/new.pem" "$keys/old.pem" >openshift/service-ca.crt
