# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2153,SC2154,SC2164 # its variables and options are relight-host's
# What only the host's owner may send, as a part of relight-host and of its short form.

# Read what only a caller may give who can be root here anyway, of at most so many bytes: first the present
# host key, as for a new one, then lines, to `$folder/lines`.
read_from_owner() {
  trap '' HUP PIPE # it goes on to the end also without its caller
  make_run
  umask 077
  exec 9>"$RUN/configure.lock"
  flock -w 30 9 || fail 75 'relight: the settings are being changed by another call'
  folder=$(mktemp --directory "$RUN/configure.XXXXXXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$folder'" EXIT
  head -c "$(($1 + 1))" >"$folder/read"
  [ "$(wc -c <"$folder/read")" -le "$1" ] || fail 77 'relight: refused: what was sent is too large'
  sed '/^-----END /q' "$folder/read" >"$folder/present"
  { [ -s "$folder/present" ] && [ "$(cat "$folder/present")" = "$(cat "$HOST_KEY")" ]; } ||
    fail 77 "relight: refused: the caller does not know this host's present host key"
  sed '1,/^-----END /d' "$folder/read" >"$folder/lines"
}
