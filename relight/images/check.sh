#!/bin/sh
# Checks a root against the contract that stands below, and changes nothing. No program of the root is
# run, and no link in it is followed out of it.
#
#   check.sh [ROOT]      ROOT is a folder with an image's files; without it, this machine's own
#
# It prints a line for each requirement that does not hold: LINE, WHAT, FOUND, with tabs between them:
# the line of the contract, what it asks for, what is there instead. FOUND is `?` if this account may
# not see it. The last line is `end` and the number of requirements. Its exit code is 0 if it ended.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
unset LANGUAGE
umask 077
ROOT=${1:-}
ROOT=${ROOT%/}
if [ -n "$ROOT" ]; then ROOT=$(realpath -e -- "$ROOT") || exit 1; fi
cd "$ROOT/" || exit 1
TAB=$(printf '\t')
NL='
'

# What a requirement found; `tr` takes out what would end a line, and `head` bounds it.
report() {
  found=$(printf '%s' "$1" | tr '\000-\037\177' ' ' | head -c 300)
  printf '%s\t%s\t%s\n' "$line" "$kind $subject${expected:+ $expected}" "$found"
}

# Whether nothing is known about a path: a folder above it may not be entered.
hidden() {
  above=$1
  while above=${above%/*}; [ -n "$above" ]; do
    [ ! -d "$ROOT$above" ] || [ -x "$ROOT$above" ] || return 0
  done
  return 1
}

# Sets `there` to where a path is, without links; reports one that leads out of the root, or is hidden.
find_path() {
  if hidden "$1"; then report '?'; return 1; fi
  there=$(realpath -m -- "$ROOT${1%/*}/")
  case $there/ in
    "$ROOT"/*) ;;
    *) report "it leads out of the image, to $there"; return 1 ;;
  esac
  there=${there%/}/${1##*/}
}

# --- packages: dpkg's own record, read once
read_packages() {
  awk '/^Package: / { name = $2 } /^Status: / { print name "=" $4 }' "$ROOT/var/lib/dpkg/status"
}

state_of() {
  case $NL$packages$NL in
    *"$NL$1=installed$NL"*) state=installed ;;
    *"$NL$1="*)
      state=${packages#*"$NL$1="}
      state=${state%%"$NL"*}
      ;;
    *) state= ;;
  esac
}

check_package() {
  state_of "$subject"
  [ "$state" = installed ] || report "${state:-absent}"
}

check_no_package() {
  state_of "$subject"
  case $state in
    '' | not-installed) ;;
    *) report "$state" ;;
  esac
}

# --- paths
kind_of_file() {
  if [ -L "$1" ]; then echo 'a link'
  elif [ -d "$1" ]; then echo 'a directory'
  elif [ -e "$1" ]; then echo 'something else'
  else echo absent
  fi
}

check_directory() {
  find_path "$subject" || return
  if [ ! -d "$there" ] || [ -L "$there" ]; then report "$(kind_of_file "$there")"; fi
}

check_file() {
  find_path "$subject" || return
  if [ ! -f "$there" ] || [ -L "$there" ]; then report "$(kind_of_file "$there")"; fi
}

# Of what is not there, one line says so; whose modes, owners and contents say no more.
present() {
  ! hidden "$subject" && find_path "$subject" >/dev/null && [ -e "$there" ] && [ ! -L "$there" ]
}

check_mode() {
  present || return
  found=$(stat -c %a -- "$there")
  [ $((0$found)) -eq $((expected)) ] || report "0$found"
}

# owner_name FILE ID: by the root's own accounts
owner_name() { awk -F: -v id="$2" '$3 == id { print $1; exit }' "$ROOT/etc/$1"; }

check_owner() {
  present || return
  user=$(owner_name passwd "$(stat -c %u -- "$there")")
  group=$(owner_name group "$(stat -c %g -- "$there")")
  found=${user:-$(stat -c %u -- "$there")}:${group:-$(stat -c %g -- "$there")}
  [ "$found" = "$expected" ] || report "$found"
}

check_content() {
  present && [ -f "$there" ] || return
  if [ ! -r "$there" ]; then report '?'; return; fi
  found=$(sha256sum <"$there")
  found=${found%% *}
  [ "$found" = "$expected" ] || report "$found"
}

# Sets `matches` to the number of what a pattern finds, and `match` to the first; `closed` to a
# folder on the way that may not be entered, or not be listed where the pattern asks for it.
find_pattern() {
  matches=0 match='' closed=''
  walk "" "${1#/}"
}

# walk FOLDER REST: with a `*` in the name that comes next the folder is listed.
walk() {
  case $2 in
    */*) set -- "$1" "${2%%/*}" "${2#*/}" ;;
    *) set -- "$1" "$2" '' ;;
  esac
  [ -x "$ROOT$1/" ] || { closed=$1; return; }
  case $2 in *\**) [ -r "$ROOT$1/" ] || { closed=$1; return; } ;; esac
  # Names have no blanks in a pattern, but in a folder: nothing is split.
  IFS=
  # shellcheck disable=SC2086 # the pattern is expanded here
  for each in "$ROOT$1"/$2; do
    unset IFS
    [ -e "$each" ] || [ -L "$each" ] || continue
    each=${each#"$ROOT"}
    if [ -z "$3" ]; then
      matches=$((matches + 1))
      match=${match:-$each}
    elif [ -d "$ROOT$each" ] && [ ! -L "$ROOT$each" ]; then
      walk "$each" "$3"
    fi
  done
  unset IFS
}

check_no_path() {
  find_pattern "$subject"
  if [ "$matches" -gt 1 ]; then report "$match (and $((matches - 1)) more)"
  elif [ "$matches" -eq 1 ]; then report "$match"
  elif [ -n "$closed" ]; then report '?'
  fi
}

# --- accounts; a locked one has no password
account() { awk -F: -v name="$1" -v field="$2" '$1 == name { print $field; exit }' "$ROOT/etc/passwd"; }

check_user() { [ -n "$(account "$subject" 3)" ] || report absent; }

check_shell() {
  [ -n "$(account "$subject" 3)" ] || return
  found=$(account "$subject" 7)
  [ "$found" = "$expected" ] || report "$found"
}

check_group() {
  awk -F: -v group="$expected" -v user="$subject" -v gid="$(account "$subject" 4)" '
    $1 == group { split($4, members, ","); for (each in members) in_it = in_it || members[each] == user
                  in_it = in_it || (gid != "" && $3 == gid) }
    END { exit !in_it }' "$ROOT/etc/group" || report 'not a member'
}

check_locked() {
  if [ ! -r "$ROOT$subject" ]; then
    if [ -e "$ROOT$subject" ]; then report '?'; else report 'unknown: it is absent'; fi
    return
  fi
  found=$(awk -F: '$2 !~ /^[!*]+$/ { printf "%s ", $1 }' "$ROOT$subject")
  [ -z "$found" ] || report "$found"
}

# --- systemd
masked() { [ "$(readlink -- "$ROOT/etc/systemd/system/$1")" = /dev/null ]; }

check_masked() { masked "$subject" || report "$(kind_of_file "$ROOT/etc/systemd/system/$subject")"; }

check_not_enabled() {
  ! masked "$subject" || return
  for each in etc/systemd/system/*.wants/"$subject" etc/systemd/system/*.requires/"$subject" \
    usr/lib/systemd/system/*.wants/"$subject" usr/lib/systemd/system/*.requires/"$subject"; do
    if [ -L "$each" ] || [ -e "$each" ]; then report "/$each"; return; fi
  done
}

# --- sysctl: as systemd-sysctl reads them; of files with one name the first folder's counts
read_sysctls() {
  for each in etc/sysctl.d/*.conf run/sysctl.d/*.conf usr/local/lib/sysctl.d/*.conf \
    usr/lib/sysctl.d/*.conf; do
    [ ! -f "$each" ] || printf '%s %s\n' "${each##*/}" "$each"
  done | sort -s -u -k 1,1 | while read -r _ each; do
    cat -- "$each"
    echo
  done | awk '
    /^[ \t]*[#;]/ || !/=/ { next }
    { name = $0; sub(/=.*/, "", name); gsub(/[ \t]/, "", name); sub(/^-/, "", name); gsub("/", ".", name)
      value = $0; sub(/[^=]*=[ \t]*/, "", value); sub(/[ \t]+$/, "", value); gsub(/[ \t]+/, " ", value)
      print name "=" value }'
}

check_sysctl() {
  found=$(printf '%s\n' "$sysctls" | awk -F= -v name="$subject" '$1 == name { value = $2 } END { print value }')
  [ "$found" = "$expected" ] || report "$found"
}

check_kernel() {
  path=/proc/sys/$(printf '%s' "$subject" | tr . /)
  if [ ! -e "$path" ]; then report 'no such setting'; return; fi
  if [ ! -r "$path" ]; then report '?'; return; fi
  found=$(tr -s '\t ' '  ' <"$path")
  [ "$found" = "$expected" ] || report "$found"
}

# --- certificates: the text of one is in the store, whatever its line breaks
check_trusted() {
  present && [ -r "$there" ] || return
  awk '/^-----BEGIN/ { body = ""; next } /^-----END/ { if (NR == FNR) wanted[body]; else has[body]; next }
    { sub(/\r$/, ""); body = body $0 }
    END { for (each in wanted) { n++; if (!(each in has)) exit 1 }; exit !n }
  ' "$there" "$ROOT/etc/ssl/certs/ca-certificates.crt" 2>/dev/null || report absent
}

packages=$NL$(read_packages) || exit 1
sysctls=$(read_sysctls)
count=0
while IFS='|' read -r line kind subject expected; do
  case $kind in
    package) check_package ;;
    no-package) check_no_package ;;
    directory) check_directory ;;
    file) check_file ;;
    mode) check_mode ;;
    owner) check_owner ;;
    content) check_content ;;
    user) check_user ;;
    shell) check_shell ;;
    group) check_group ;;
    masked) check_masked ;;
    not-enabled) check_not_enabled ;;
    sysctl) check_sysctl ;;
    kernel) check_kernel ;;
    trusted) check_trusted ;;
    no-path) check_no_path ;;
    locked) check_locked ;;
    *) exit 1 ;;
  esac
  count=$((count + 1))
done <<'CONTRACT'
CONTRACT
printf 'end%s%s\n' "$TAB" "$count"
