# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2153,SC2154,SC2164 # its variables and options are relight-host's
# Packages by their URLs and from the caller, as a part of relight-host and of its short form.

# The allowed origin of packages is configured on this host: otherwise any caller could install a
# package of his own. systemd-run would expand ${NAME} in an argument, so `$` is refused.
check_deb() {
  case $1 in
    pushed) check_pushed ;;
    *) check_url "$1" ;;
  esac
  check_digest "$2"
  check_number "$3"
  case $4 in
    '' | *[!a-z0-9-]*) fail 64 "relight-host: not an architecture: $4" ;;
  esac
}

check_pushed() {
  [ "$PUSHED" = yes ] || fail 64 'relight-host: this host takes no packages from its caller'
}

check_url() {
  [ -n "$DEB_URLS" ] || fail 64 'relight-host: this host fetches no packages by URL; it uses apt'
  case $1 in
    *..* | *%2[eE]* | *'$'* | *[!!-~]*) fail 64 "relight-host: not a valid URL: $1" ;;
    "$DEB_URLS"*) ;;
    *) fail 64 "relight-host: packages come from $DEB_URLS only, not from $1" ;;
  esac
}

# Fetch a package into a temporary folder, and check its digest, name, version and architecture.
fetch() {
  file=$1 version=$2 url=$3 sha256=$4 size=$5 architecture=$6
  [ "$url" = pushed ] || command -v curl >/dev/null ||
    fail 100 'E: curl, which fetches packages, is not installed'
  # A change that is killed leaves its folder.
  find /var/tmp -maxdepth 1 -name 'relight.??????????' -user 0 -mmin +1440 -exec rm -rf {} + 2>/dev/null || true
  folder=$(mktemp --directory /var/tmp/relight.XXXXXXXXXX)
  # shellcheck disable=SC2064 # the folder is this one, whatever the variable is later
  trap "rm -rf '$folder'" EXIT
  chmod 755 "$folder" # apt reads the file as its own user; only root can change it
  cd "$folder"
  if [ "$url" = pushed ]; then
    cp "$RECEIVED/$sha256.deb" "$file" || fail 100 "relight: refused: no package $sha256 was pushed"
  else
    download "$url" "$size" "$file"
  fi
  printf '%s  %s\n' "$sha256" "$file" | sha256sum --check --strict --quiet ||
    fail 100 "relight: refused: the SHA-256 of $url is not $sha256"
  found="$(dpkg-deb --field "$file" Package) $(dpkg-deb --field "$file" Version)" || true
  found="$found $(dpkg-deb --field "$file" Architecture)" || true
  case $found in
    "$PACKAGE $version $architecture" | "$PACKAGE $version all") ;;
    *) fail 100 "relight: refused: $url is not $PACKAGE $version $architecture, but $found" ;;
  esac
}

# Download a URL of so many bytes into a file.
download() {
  # GitHub redirects to where it stores files. A stalled transfer is given up early.
  # --disable: it reads no .curlrc.
  output=$(curl --disable --fail --location --proto =https,http --globoff --silent --show-error \
    --connect-timeout 10 --speed-limit 1 --speed-time 20 --max-time 300 \
    --max-filesize "$2" --output "$3" --url "$1" 2>&1) || fail 100 "$output: $1"
}

# Read a package of so many bytes from the standard input, and keep it under its digest. Of the
# packages that were received before, the newest few stay.
receive() {
  check_pushed
  mkdir -p "$RECEIVED"
  chmod 700 "$RECEIVED"
  part=$(mktemp "$RECEIVED/part.XXXXXXXXXX")
  trap 'rm -f "$part"' EXIT
  head -c "$(($2 + 1))" >"$part"
  printf '%s  %s\n' "$1" "$part" | sha256sum --check --strict --quiet ||
    fail 100 "relight: refused: the SHA-256 of what was received is not $1"
  mv -f "$part" "$RECEIVED/$1.deb"
  # Their names are digests, or of `mktemp`.
  # shellcheck disable=SC2012
  ls -1t "$RECEIVED" | tail -n "+$((MAX_RECEIVED + 1))" | while read -r old; do
    rm -f "$RECEIVED/$old"
  done
}
