# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2153,SC2154,SC2164 # its variables and options are relight-host's
# This host's settings: the program, its configuration, and our apt sources, as a part of relight-host.

PROGRAM=/usr/local/sbin/relight-host
KEYRINGS=/etc/apt/keyrings
LOGINS=/etc/apt/auth.conf.d/relight.conf

# Print the digest of this host's settings, in the order of their paths. As a digest travels in
# arguments, and covers passwords, nobody may compute it without the private host key.
settings_digest() {
  digest=$(cat "$HOST_KEY" "$LOGINS" "$KEYRINGS"/relight*.[ag][sp][cg] "/etc/apt/$SOURCE" "$CONF" "$PROGRAM" \
    2>/dev/null | sha256sum)
  printf '%s\n' "${digest%% *}"
}

require_settings() {
  check_digest "$1"
  [ "$1" = "$(settings_digest)" ] || fail 92 'relight: this host has other settings'
}

# Change the settings. They name the package, and whose signature is trusted: whoever may change them
# can run any program as root here.
configure() {
  read_from_owner "$MAX_SETTINGS"
  mkdir "$folder/new"
  while read -r name content; do
    case $name in
      *[!a-z0-9.-]*) ;;
      relight-host | host | relight.sources | relight.conf | relight.asc | relight.gpg | relight-*.asc | relight-*.gpg)
        printf '%s\n' "$content" | base64 --decode >"$folder/new/$name" 2>/dev/null ||
          fail 77 "relight: refused: $name is not in base64"
        continue
        ;;
    esac
    fail 77 "relight: refused: not a file of the settings: $name"
  done <"$folder/lines"
  cd "$folder/new"
  check_settings
  # In this order the source never names a key that is not there.
  if [ -e relight.conf ]; then put relight.conf "$LOGINS" 600; else rm -f "$LOGINS"; fi
  for key in *.asc *.gpg; do
    if [ -e "$key" ]; then put "$key" "$KEYRINGS/$key" 644; fi
  done
  if [ -e relight.sources ]; then put relight.sources "/etc/apt/$SOURCE" 644; else rm -f "/etc/apt/$SOURCE"; fi
  for key in "$KEYRINGS"/relight*.[ag][sp][cg]; do
    [ -e "${key##*/}" ] || rm -f "$key"
  done
  put host "$CONF" 644
  put relight-host "$PROGRAM" 755
}

# Check the files: no line may do more than it says.
check_settings() {
  # A newer configuration may have names that this program does not know.
  { [ -s host ] && ! grep -qvE "^[A-Z_]+=([A-Za-z0-9@%+=:,./_-]*|'[^']*')$" host; } ||
    fail 77 'relight: refused: the configuration is not well-formed'
  # shellcheck source=/dev/null
  (. ./host && check_configuration)
  { [ -s relight-host ] && sh -n relight-host; } || fail 77 'relight: refused: the program is not valid'
  [ ! -e relight.sources ] ||
    ! grep -qvE "^($|#|Types: deb$|URIs: |Suites: |Components: |Architectures: |Signed-By: $KEYRINGS/relight[0-9-]*\.(asc|gpg)$)" \
      relight.sources || fail 77 'relight: refused: the source is not well-formed'
  [ ! -e relight.conf ] || ! grep -qvE '^machine [^ ]+ login [^ ]+ password [^ ]+$' relight.conf ||
    fail 77 'relight: refused: the logins are not well-formed'
  for key in *.asc *.gpg; do
    [ ! -e "$key" ] || [ -s "$key" ] || fail 77 'relight: refused: the key is empty'
    [ ! -e "$key" ] || grep -qsxF "Signed-By: $KEYRINGS/$key" relight.sources ||
      fail 77 "relight: refused: no source names the key $key"
  done
}

# Replace a file at once.
put() {
  (umask 022 && mkdir -p "${2%/*}")
  { cat "$1" >"$2.new" && chmod "$3" "$2.new" && sync "$2.new" && mv -f "$2.new" "$2"; } ||
    fail 77 "relight: $2 could not be written"
}
