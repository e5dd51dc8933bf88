# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2153,SC2154,SC2164 # its variables and options are relight-host's
# Where things are, errors, and checks of arguments, as a part of relight-host and of its short form.

CONF=/etc/relight/host
RUN=/run/relight
LOADED=$RUN/loaded
STEPS=/var/lib/relight/first-boot
RECEIVED=/var/lib/relight/packages # that were received, by digest
MAX_RECEIVED=3
BEGUN=$RUN/begun
HOST_KEY=/etc/ssh/ssh_host_ed25519_key
MAX_SETTINGS=262144
WRITTEN=/var/lib/relight/configuration
POLICY=/usr/sbin/policy-rc.d
HELD=$RUN/held # the units that ran when the service was held
JUST_INSTALLED=$RUN/just-installed # the version that the first boot has installed
INFO=/var/lib/dpkg/info
ARCHIVES=/var/cache/apt/archives
TOGETHER=/var/lib/relight/together
MAX_LOG=262144 # bytes of a log that are printed, from its end: a line of journald has up to 48 KiB
SOURCE=sources.list.d/relight.sources # below /etc/apt
NEWLINE='
'

# Output is parsed, so it must be English. No program may prompt, and none but this may restart.
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l

PACKAGE='' PACKAGES='' UNIT='' MORE_UNITS='' EXECUTABLE='' ON_CHANGE=restart STATE_FILES=''
DEB_URLS='' PUSHED=''

print_error() { printf '%s\n' "$*" >&2; }

fail() {
  code=$1
  shift
  print_error "$@"
  exit "$code"
}

# Set `content` to the lines of a small file. To start a program that reads it costs more.
read_file() {
  content=''
  while IFS= read -r line; do content=$content${content:+$NEWLINE}$line; done <"$1"
}

# A damaged configuration must not make apt's or systemd's arguments mean something else.
check_configuration() {
  case $PACKAGES in
    *[!a-z0-9.+\ -]* | -* | *' -'*) fail 64 "relight-host: $CONF names no packages: $PACKAGES" ;;
  esac
  case $PACKAGE in
    *[!a-z0-9.+-]*) ;;
    [a-z0-9]?*) case $UNIT in
      *[!A-Za-z0-9:_.\\@*-]* | -*) ;;
      ?*.service) case $EXECUTABLE$NEWLINE$MORE_UNITS in
        "$NEWLINE"* | /?*"$NEWLINE"*) case "$ON_CHANGE: $MORE_UNITS" in
          *[!A-Za-z0-9:_.\\@*\ -]* | *' -'*) ;;
          restart:* | reload:* | try-restart:*) return ;;
        esac ;;
      esac ;;
    esac ;;
  esac
  fail 64 "relight-host: $CONF does not name a package, its units and its executable"
}

check_unit() {
  case $1 in
    *[!a-z0-9.-]*) ;;
    relight-*.service) return ;;
  esac
  fail 64 "relight-host: not a transaction unit: $1"
}

check_number() {
  case $1 in
    '' | *[!0-9]* | ??????????*) fail 64 "relight-host: not a number: $1" ;;
  esac
}

# Debian's policy, 5.6.12: [EPOCH:]UPSTREAM[-REVISION]. apt removes the package for `NAME=1.0-`.
check_version() {
  case $1 in
    *:*) epoch=${1%%:*} ;;
    *) epoch=0 ;;
  esac
  case $epoch in
    '' | *[!0-9]* | ??????????*) ;;
    *) case ${1#*:} in
      *[!A-Za-z0-9.+~-]* | *-) ;;
      [0-9]*) return ;;
    esac ;;
  esac
  fail 64 "relight-host: not a version: $1"
}

check_change() {
  case $# in
    2 | 6) ;;
    *) fail 64 'relight-host: a change is VERSION upgrade|rollback [URL SHA256 SIZE ARCHITECTURE]' ;;
  esac
  check_version "$1"
  case $2 in
    upgrade | rollback) ;;
    *) fail 64 "relight-host: neither upgrade nor rollback: $2" ;;
  esac
  [ $# -eq 2 ] || check_deb "$3" "$4" "$5" "$6"
}

check_digest() {
  case $1 in
    *[!0-9a-f]*) fail 64 "relight-host: not a SHA-256: $1" ;;
  esac
  [ ${#1} -eq 64 ] || fail 64 "relight-host: not a SHA-256: $1"
}

# Print what a step of the first boot wrote.
print_step() {
  case $1 in
    cloud-init) tail -n 40 /var/log/cloud-init-output.log | tail -c "$MAX_LOG" ;;
    install) tail -c "$MAX_LOG" "$STEPS/$1.log" ;;
    *) fail 64 "relight-host: no such step of the first boot: $1" ;;
  esac
}
