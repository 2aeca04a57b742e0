#!/usr/bin/env bash
# Brings the programs that the tests run against real daemons into a cache directory, without installing anything.
#
#   provision.sh [ITEM...]     all items when none is named; prints the cache directory
#
# Each item ends as CACHE/ITEM/bin/*. Its presence is the stamp: it is renamed into place when it is complete and runs.
set -euo pipefail

cache=${EFFECT_CONTAINERD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/effect-containerd}

# item: Debian release, the program whose --help proves that it runs here, packages
declare -A recipes=(
  [containerd-1.6]="bookworm containerd containerd"
  [containerd-1.7]="trixie containerd containerd"
  [containerd-2]="sid containerd containerd"
  [dockerd]="sid dockerd docker.io docker-cli"
  [dockerd-26]="trixie dockerd docker.io docker-cli"
  [buildx]="sid docker-buildx docker-buildx" # a plugin of docker, which runs alone, too
  [runc]="bookworm runc runc" # the newer ones need a newer glibc
  [runsc]="sid runsc runsc" # gVisor
  [busybox]="bookworm busybox busybox-static"
  [skopeo]="bookworm skopeo skopeo libgpgme11 libassuan0 libdevmapper1.02.1"
  [umoci]="bookworm umoci umoci"
  [podman]="bookworm podman podman conmon libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4 libglib2.0-0"
  [buildah]="bookworm buildah buildah libgpgme11 libassuan0 libdevmapper1.02.1 libsubid4"
  [attr]="bookworm getfattr attr"
  [igzip]="bookworm igzip isal libisal2"
  [pigz]="bookworm pigz pigz"
  [zstd]="bookworm zstd zstd"
)

# item: the flags that its program of the same name always gets. These programs bring libraries of their own.
declare -A wrapped=(
  [skopeo]="--insecure-policy" # it refuses to start without a policy
  [podman]=""                  # test/support/Podman.ts gives it all its settings
  [buildah]=""
  [igzip]=""
)

fail() {
  echo "provision: $*" >&2
  exit 3
}

apt() {
  local state=$1
  shift
  apt-get -qq -o Dir::State::lists="$state/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$state/cache" \
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

# The machine's own mirror: from what apt knows already, else from a private copy of its indexes.
mirror() {
  local format='$(ORIGIN)/$(LABEL) $(SITE)'
  local known
  known=$(apt-get indextargets --format "$format" 'Created-By: Packages')
  if [[ $known != *Debian/Debian\ * ]]; then
    mkdir -p "$work/machine/lists/partial" "$work/machine/cache/archives/partial"
    apt "$work/machine" update >&2 || true
    known=$(apt "$work/machine" indextargets --format "$format" 'Created-By: Packages')
  fi
  awk '$1 == "Debian/Debian" { print $2; exit }' <<<"$known"
}

# Sets $private to apt's options for one release, its index fetched.
open_release() {
  local state=$work/$1
  private=(-o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null)
  [[ -d $state ]] && return
  site=${site:-$(mirror)}
  [[ $site ]] || fail "apt knows no Debian mirror: an entry for one is needed in /etc/apt"
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $1 main" >"$state/sources.list"
  apt "$state" "${private[@]}" update >&2
}

link_programs() {
  local item=$1 new=$2 program
  mkdir "$new/bin"
  for program in "$new"/root/{bin,sbin,usr/bin,usr/sbin,usr/lib*/docker/cli-plugins}/*; do
    if [[ -f $program && -x $program && ! -L $program ]]; then ln -s "..${program#"$new"}" "$new/bin/"; fi
  done
  [[ -v wrapped[$item] ]] || return 0
  rm "$new/bin/$item"
  cat >"$new/bin/$item" <<WRAPPER
#!/bin/sh
root=\$(dirname "\$0")/../root
LD_LIBRARY_PATH=\$(echo "\$root"/lib/*-linux-gnu*):\$(echo "\$root"/usr/lib/*-linux-gnu*) \\
  exec "\$root/usr/bin/$item" ${wrapped[$item]} "\$@"
WRAPPER
  chmod +x "$new/bin/$item"
}

bring() {
  local item=$1 new=$work/items/$1 release proof packages deb
  read -r release proof packages <<<"${recipes[$item]}"
  echo "provision: $item (Debian $release: $packages)" >&2
  open_release "$release"
  mkdir -p "$new/root" "$new/deb"
  # shellcheck disable=SC2086 # a list of words
  (cd "$new/deb" && apt "$work/$release" "${private[@]}" download $packages >&2)
  for deb in "$new"/deb/*.deb; do dpkg -x "$deb" "$new/root"; done
  rm -rf "$new/deb"
  link_programs "$item" "$new"
  "$new/bin/$proof" --help >/dev/null 2>"$work/proof" ||
    fail "$item does not run on this machine: $(head -n 1 "$work/proof")"
  mv "$new" "$cache/$item"
}

items=("$@")
[[ ${#items[@]} -gt 0 ]] || items=("${!recipes[@]}")
missing=()
for item in "${items[@]}"; do
  [[ -v recipes[$item] ]] || fail "no item $item; there are: ${!recipes[*]}"
  [[ -d $cache/$item ]] || missing+=("$item")
done

if [[ ${#missing[@]} -gt 0 ]]; then
  type apt-get dpkg flock >/dev/null 2>&1 || fail "the programs come as Debian packages: apt-get, dpkg and flock are needed"
  mkdir -p "$cache"
  exec 9>"$cache/.lock"
  flock 9
  rm -rf "$cache"/.new.* # of a run that was killed
  work=$(mktemp -d "$cache/.new.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  for item in "${missing[@]}"; do
    [[ -d $cache/$item ]] || bring "$item"
  done
fi
echo "$cache"
