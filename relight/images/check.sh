#!/bin/sh
# Checks a root against the contract that stands below, and changes nothing. No program of the root is
# run, and its links lead where they do on a machine made of it: never out of it.
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
  # A bare `?` is for what cannot be seen.
  [ "$found" != '?' ] || found="'?'"
  answer "$found"
}

unseen() { answer '?'; }

answer() { printf '%s\t%s\t%s\n' "$line" "$kind $subject${expected:+ $expected}" "$1"; }

# Sets `real` to where a path of the root is, each link resolved. One in a circle stays as it is.
resolve() {
  real='' rest=$1 links=0
  while [ -n "$rest" ]; do
    case $rest in
      */*) part=${rest%%/*} rest=${rest#*/} ;;
      *) part=$rest rest='' ;;
    esac
    case $part in
      '' | .) continue ;;
      ..) real=${real%/*}; continue ;;
    esac
    if [ -L "$ROOT$real/$part" ] && [ "$links" -lt 40 ]; then
      links=$((links + 1))
      # The dot keeps a line's end in a name.
      target=$(readlink -- "$ROOT$real/$part"; echo .)
      target=${target%??}
      case $target in /*) real='' ;; esac
      rest=$target${rest:+/$rest}
    else
      real=$real/$part
    fi
  done
  real=$ROOT$real
}

# Whether nothing is known about a file: a folder above it may not be entered.
hidden() {
  above=$1
  while above=${above%/*}; [ -n "$above" ]; do
    [ ! -d "$above" ] || [ -x "$above" ] || return 0
  done
  return 1
}

# Sets `there` to where a path is, without links above it; reports one that is hidden.
find_path() {
  resolve "${1%/*}"
  there=$real/${1##*/}
  if hidden "$there"; then unseen; return 1; fi
}

# --- packages: dpkg's own record, read once, and what it notes beside it until it has ended
read_packages() {
  resolve /var/lib/dpkg
  [ -r "$real/status" ] && [ ! -L "$real/status" ] || return 1
  set -- "$real/status"
  for each in "$real"/updates/[0-9]*; do
    if [ -f "$each" ] && [ ! -L "$each" ]; then set -- "$@" "$each"; fi
  done
  awk '
    function noted() { if (name != "") state[name, architecture] = name "=" now; name = architecture = now = "" }
    FNR == 1 || /^$/ { noted() }
    /^Package: / { name = $2 }
    /^Architecture: / { architecture = $2 }
    /^Status: / { now = $3 == "ok" ? $4 : $3 }
    END { noted(); for (each in state) if (state[each] !~ /=not-installed$/) print state[each] }
  ' "$@"
}

# Sets `state` to that of a package: installed if it is so for any architecture; empty without one.
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
  [ -z "$state" ] || report "$state"
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
  find_path "$subject" >/dev/null && [ -e "$there" ] && [ ! -L "$there" ]
}

check_mode() {
  present || return
  found=$(stat -c %a -- "$there")
  [ $((0$found)) -eq $((expected)) ] || report "0$found"
}

# owner_name ACCOUNTS ID: by the root's own accounts
owner_name() { awk -F: -v id="$2" '$3 == id { print $1; exit }' "$1"; }

check_owner() {
  present || return
  user=$(owner_name "$PASSWD" "$(stat -c %u -- "$there")")
  group=$(owner_name "$GROUP" "$(stat -c %g -- "$there")")
  found=${user:-$(stat -c %u -- "$there")}:${group:-$(stat -c %g -- "$there")}
  [ "$found" = "$expected" ] || report "$found"
}

check_content() {
  present && [ -f "$there" ] || return
  if [ ! -r "$there" ]; then unseen; return; fi
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
    else
      resolve "$each"
      [ ! -d "$real" ] || walk "${real#"$ROOT"}" "$3"
    fi
  done
  unset IFS
}

check_no_path() {
  find_pattern "$subject"
  if [ "$matches" -gt 1 ]; then report "$match (and $((matches - 1)) more)"
  elif [ "$matches" -eq 1 ]; then report "$match"
  elif [ -n "$closed" ]; then unseen
  fi
}

# --- accounts; a locked one has no password
account() { awk -F: -v name="$1" -v field="$2" '$1 == name { print $field; exit }' "$PASSWD"; }

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
    END { exit !in_it }' "$GROUP" || report 'not a member'
}

check_locked() {
  resolve "$subject"
  if [ ! -r "$real" ]; then
    if [ -e "$real" ]; then unseen; else report 'unknown: it is absent'; fi
    return
  fi
  # An `x` in the list of accounts: the password is in the other file.
  found=$(awk -F: 'NF > 1 && $2 !~ /^[!*]+$/ { print $1 }' "$real"
    awk -F: 'NF > 1 && $2 !~ /^(x|[!*]+)$/ { print $1 }' "$PASSWD")
  [ -z "$found" ] || report "$found"
}

# --- systemd: the folders of units; of files with one name the first folder's counts
UNIT_FOLDERS='/etc/systemd/system.control /run/systemd/system.control /run/systemd/transient
  /run/systemd/generator.early /etc/systemd/system /run/systemd/system /run/systemd/generator
  /usr/local/lib/systemd/system /usr/lib/systemd/system /run/systemd/generator.late'

# Sets `unit` to the path of a unit's file, and `real` to where it is without a link of its own.
find_unit() {
  for unit in $UNIT_FOLDERS; do
    resolve "$unit"
    unit=$unit/$1 real=$real/$1
    if [ -e "$real" ] || [ -L "$real" ]; then return 0; fi
  done
  return 1
}

# Whether a unit is masked: its file is a link to /dev/null, or empty.
masked() {
  find_unit "$1" || return
  [ "$(readlink -- "$real")" = /dev/null ] || { [ -f "$real" ] && [ ! -L "$real" ] && [ ! -s "$real" ]; }
}

check_masked() {
  if masked "$subject"; then return; fi
  if find_unit "$subject"; then report "$unit"; else report absent; fi
}

# Prints the names of a unit: its own, and each link that leads to it.
names_of() {
  echo "$1"
  for folder in $UNIT_FOLDERS; do
    resolve "$folder"
    for each in "$real"/*; do
      if [ -L "$each" ]; then
        resolve "$folder/${each##*/}"
        [ "${real##*/}" != "$1" ] || echo "${each##*/}"
      fi
    done
  done
}

check_not_enabled() {
  ! masked "$subject" || return
  # The names are split: units have no blanks in theirs. Of a template each instance counts.
  for name in $(names_of "$subject"); do
    for folder in $UNIT_FOLDERS; do
      resolve "$folder"
      case $name in *@.*) name="${name%@.*}@*.${name##*.}" ;; esac
      # shellcheck disable=SC2231 # the pattern of a template is expanded here
      for each in "$real"/*.wants/$name "$real"/*.requires/$name "$real"/*.upholds/$name; do
        if [ -L "$each" ] || [ -e "$each" ]; then report "$folder${each#"$real"}"; return; fi
      done
    done
  done
}

# --- sysctl: as systemd-sysctl reads them; of files with one name the first folder's counts. What is
# no file, as a link to /dev/null, masks those of its name.
list_sysctls() {
  for folder in /etc/sysctl.d /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d; do
    resolve "$folder"
    for each in "$real"/*.conf; do
      name=${each##*/}
      if [ ! -e "$each" ] && [ ! -L "$each" ]; then continue; fi
      resolve "$folder/$name"
      [ -f "$real" ] || real=/dev/null
      printf '%s/%s\0' "$name" "$real"
    done
  done
}

read_sysctls() {
  # shellcheck disable=SC2016 # the inner shell fills it in
  list_sysctls | sort -z -s -u -t / -k 1,1 | cut -z -d / -f 2- |
    xargs -0 sh -c 'for each; do cat -- "$each"; echo; done' sh 2>/dev/null | awk '
    /^[ \t]*[#;]/ || !/=/ { next }
    { name = $0; sub(/=.*/, "", name); gsub(/[ \t]/, "", name); sub(/^-/, "", name); gsub("/", ".", name)
      value = $0; sub(/[^=]*=[ \t]*/, "", value); sub(/[ \t]+$/, "", value); gsub(/[ \t]+/, " ", value)
      print name "=" value }'
}

check_sysctl() {
  found=$(printf '%s\n' "$sysctls" | awk -v name="$subject=" '
    index($0, name) == 1 { value = substr($0, length(name) + 1) } END { print value }')
  [ "$found" = "$expected" ] || report "$found"
}

check_kernel() {
  path=/proc/sys/$(printf '%s' "$subject" | tr . /)
  if [ ! -e "$path" ]; then report 'no such setting'; return; fi
  if [ ! -r "$path" ]; then unseen; return; fi
  found=$(tr -s '\t ' '  ' <"$path")
  [ "$found" = "$expected" ] || report "$found"
}

# --- certificates: the text of one is in the store, whatever its line breaks
check_trusted() {
  present && [ -r "$there" ] || return
  resolve /etc/ssl/certs/ca-certificates.crt
  awk '/^-----BEGIN/ { body = ""; next } /^-----END/ { if (NR == FNR) wanted[body]; else has[body]; next }
    { sub(/\r$/, ""); body = body $0 }
    END { for (each in wanted) { n++; if (!(each in has)) exit 1 }; exit !n }
  ' "$there" "$real" 2>/dev/null || report absent
}

# Without its accounts a root has none.
resolve /etc/passwd
[ -r "$real" ] && PASSWD=$real || PASSWD=/dev/null
resolve /etc/group
[ -r "$real" ] && GROUP=$real || GROUP=/dev/null
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
