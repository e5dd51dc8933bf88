#!/bin/sh
# Makes a Debian root as the contract says that stands below: in a chroot, or on a machine that becomes
# an image. It runs as root, and may run again. The first error ends it.
set -eu
umask 022
cd /
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
unset LANGUAGE TMPDIR

# The builder may lay the .deb files of downloads here, each as SHA256.deb; others are fetched.
DOWNLOADS=/var/cache/relight-image
POLICY=/usr/sbin/policy-rc.d

say() { echo "provision: $*" >&2; }

# No package starts its service: what runs writes files that no image has.
if [ ! -e "$POLICY" ]; then
  trap 'rm -f "$POLICY"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$POLICY"
  chmod 0755 "$POLICY"
fi

# A mirror that does not answer must not hold a build.
apt() {
  apt-get --quiet --quiet --yes -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 -o DPkg::Use-Pty=0 "$@" </dev/null
}

state() { dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null || true; }

# install PACKAGE...
install() {
  missing=
  for package; do
    [ "$(state "$package")" = installed ] || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  say "installing$missing"
  apt update --error-on=any
  # shellcheck disable=SC2086 # names of packages have no blanks
  apt install --no-install-recommends $missing
}

# fetch SHA256 URL FILE
fetch() {
  if [ ! -e "$3" ]; then
    say "fetching $2"
    mkdir -p "${3%/*}"
    curl --fail --location --silent --show-error --proto =http,https --connect-timeout 30 \
      --max-time 900 --retry 3 --output "$3.part" "$2"
    mv "$3.part" "$3"
  fi
  echo "$1  $3" | sha256sum --check --quiet >&2 || {
    rm -f "$3"
    say "$2 is not what the contract says"
    return 1
  }
}

# download PACKAGE ARCHITECTURE SHA256 URL
download() {
  [ "$2" = "$(dpkg --print-architecture)" ] || return 0
  [ "$(state "$1")" != installed ] || return 0
  fetch "$3" "$4" "$DOWNLOADS/$3.deb"
  apt install --no-install-recommends "$DOWNLOADS/$3.deb"
}

# directory PATH MODE OWNER
directory() {
  mkdir -p "$1"
  chown "$3" "$1"
  chmod "$2" "$1"
}

# file PATH MODE OWNER CONTENT
file() {
  mkdir -p "${1%/*}"
  rm -f "$1.relight-new"
  (umask 077 && printf '%s' "$4" >"$1.relight-new")
  chown "$3" "$1.relight-new"
  chmod "$2" "$1.relight-new"
  mv -T "$1.relight-new" "$1"
}

# access PATH MODE OWNER: of a file that a package brings
access() {
  chown "$3" "$1"
  chmod "$2" "$1"
}

# user NAME SHELL GROUP...
user() {
  name=$1
  if getent passwd "$name" >/dev/null; then
    usermod --shell "$2" "$name"
  else
    useradd --create-home --shell "$2" "$name"
  fi
  shift 2
  for group; do
    usermod --append --groups "$group" "$name"
  done
}

# disable UNIT: at boot, wherever it is wanted
disable() {
  rm -f /etc/systemd/system/*.wants/"$1" /etc/systemd/system/*.requires/"$1"
}

# mask UNIT
mask() {
  disable "$1"
  ln -sfT /dev/null "/etc/systemd/system/$1"
}

# trust: the system's store then has the certificates of /usr/local
trust() { update-ca-certificates >/dev/null; }

# checked COMMAND...
checked() {
  say "checking: $*"
  "$@" </dev/null >&2
}

# purge PACKAGE...
purge() {
  present=
  for package; do
    case $(state "$package") in
      '' | not-installed) ;;
      *) present="$present $package" ;;
    esac
  done
  [ -n "$present" ] || return 0
  say "purging$present"
  # shellcheck disable=SC2086 # names of packages have no blanks
  apt purge $present
}

# remove PATTERN
remove() {
  IFS=
  # shellcheck disable=SC2086 # the pattern is expanded here, and nothing is split
  rm -rf -- $1
  unset IFS
}

# no_passwords: not even a locked one is left
no_passwords() {
  awk -F: '$2 !~ /^[!*]+$/ { print $1 }' /etc/shadow | while read -r name; do
    usermod --password '!' "$name"
  done
}

# The contract:
