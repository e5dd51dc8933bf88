# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2153,SC2154,SC2164 # its variables and options are relight-host's
# Which content of the package is installed, as a part of relight-host and of its short form.

RECORD=/var/lib/relight/installed

# Print a digest of dpkg's own files about the package: its scripts, and the digests of its files.
info_digest() {
  set --
  for kind in list md5sums conffiles preinst postinst prerm postrm config templates triggers; do
    for file in "$INFO/$PACKAGE.$kind" "$INFO/$PACKAGE:"*".$kind"; do
      [ ! -f "$file" ] || set -- "$@" "$file"
    done
  done
  info=$(cat /dev/null "$@" | sha256sum)
  printf '%s\n' "${info%% *}"
}

# Whether dpkg has unpacked the package since a file was written.
# shellcheck disable=SC3013 # the shells of Debian and Ubuntu know -nt
unpacked_since() {
  for list_of in "$INFO/$PACKAGE.list" "$INFO/$PACKAGE:"*.list; do
    [ ! "$list_of" -nt "$1" ] || return 0
  done
  return 1
}

# Print the start of the names of the files in which apt keeps a version of a package.
archives() {
  case $2 in
    *:*) printf '%s\n' "$ARCHIVES/$1_${2%%:*}%3a${2#*:}_" ;;
    *) printf '%s\n' "$ARCHIVES/$1_$2_" ;;
  esac
}

# Record the SHA-256 of the .deb that a change unpacked. If it unpacked none, the record stays.
record_content() {
  unpacked_since "$LOADED" || return 0
  sha256=${deb_sha256:-}
  if [ -z "$sha256" ]; then
    for file in "$(archives "$PACKAGE" "$1")"*.deb; do
      [ ! -f "$file" ] || sha256=$(sha256sum "$file")
    done
  fi
  [ -n "$sha256" ] || sha256=$(listed_sha256 "$1")
  [ -n "$sha256" ] || sha256=unknown
  [ -d "${RECORD%/*}" ] || mkdir -p "${RECORD%/*}"
  printf '%s %s %s\n' "$1" "${sha256%% *}" "$(info_digest)" >"$RECORD"
}

# Set `packages` to all packages of the service: those that it names, and those locked to it.
find_packages() {
  together=''
  { read -r together <"$TOGETHER"; } 2>/dev/null || true
  packages="$PACKAGE $PACKAGES"
  case $together in
    *[!a-z0-9.+\ -]*) ;;
    *) packages="$packages $together" ;;
  esac
}

# Record the packages that the installed one needs in exactly their version: they are the release too.
# Below them, the version of each package of the service.
# shellcheck disable=SC2016 # dpkg-query expands these
record_together() {
  format='${Package} ${Version} ${db:Status-Status}'
  found=$(dpkg-query --show --showformat="$format,"'${Depends},${Pre-Depends}\n' -- "$PACKAGE" 2>/dev/null) ||
    return 0
  states='' names=''
  while IFS=, read -r state needs; do
    states=$states$state$NEWLINE
    set -f
    IFS=,
    for need in $needs; do add_locked "$need"; done
    unset IFS
    set +f
  done <<END
$found
END
  # shellcheck disable=SC2086
  [ -z "$PACKAGES$names" ] ||
    states=$states$(dpkg-query --show --showformat="$format\n" -- $PACKAGES $names 2>/dev/null) || true
  [ -d "${TOGETHER%/*}" ] || mkdir -p "${TOGETHER%/*}"
  {
    printf '%s\n' "$names"
    while read -r state; do
      case $state in
        *' installed') printf '%s\n' "${state% *}" ;;
      esac
    done <<END
$states
END
  } >"$TOGETHER"
}

# Add a dependency to `names`, if it needs one version exactly.
add_locked() {
  case $1 in
    *' (= '*) ;;
    *) return 0 ;;
  esac
  name=${1%% (= *}
  name=${name# }
  case $name in
    *[!a-z0-9.+:-]*) ;; # an alternative to another
    [a-z0-9]?*) names="$names${name%%:*} " ;;
  esac
}

# Print the SHA-256 that our source has for a version.
listed_sha256() {
  on_source "$SOURCE" apt-cache show -- "$PACKAGE=$1" 2>/dev/null | sed -n 's/^SHA256: //p' | head -n 1
}

# Print the version and the SHA-256 on record, unless dpkg unpacked something else since.
recorded() {
  [ -f "$RECORD" ] || return 0
  read -r recorded_version recorded_sha256 recorded_info <"$RECORD" || return 0
  ! unpacked_since "$RECORD" || [ "$recorded_info" = "$(info_digest)" ] || return 0
  printf '%s %s\n' "$recorded_version" "$recorded_sha256"
}

# Whether this version may be installed with another content than the caller asks for: it is not on
# record with that content.
has_other_content() {
  asked=${deb_sha256:-$(listed_sha256 "$1")}
  [ -n "$asked" ] && [ "$(recorded)" != "$1 $asked" ]
}
