# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2153,SC2154,SC2164 # its variables and options are relight-host's
# Which files of the packages were changed, as a part of relight-host.

DPKG_CONF=/etc/dpkg

# Whether a file of the package was changed or is missing.
damaged() {
  read_damage
  [ -n "$damage" ]
}

# Set `damage` to what dpkg finds changed or missing of the package's files, as far as it matters: not
# edited configuration, not state that the service changes itself, not what the service's configuration
# replaces, and not files that this host leaves out.
read_damage() {
  damage='' configured_files=''
  [ ! -f "$WRITTEN" ] || configured_files=$NEWLINE$(sed 1d "$WRITTEN" | cut -d ' ' -f 5)$NEWLINE
  find_packages
  changes=$(for package in $packages; do dpkg --verify -- "$package" 2>/dev/null || true; done)
  [ -z "$changes" ] || damage=$(printf '%s\n' "$changes" | print_damage)
}

print_damage() {
  while IFS= read -r line; do
    file=/${line#*/}
    case $configured_files in
      *"$NEWLINE$file$NEWLINE"*) continue ;;
    esac
    case ${line%%/*}:$file in
      *' c :'* | *:/run/* | *:/srv/* | *:/var/lib/* | *:/var/cache/* | *:/var/log/* | *:/var/spool/* | *:/var/tmp/*)
        continue
        ;;
      missing*) ! is_left_out "$file" || continue ;;
    esac
    is_state "$file" || printf '%s\n' "$line"
  done
}

# Whether the configuration says that the service changes a file itself.
is_state() (
  set -f # patterns are for `case`
  for pattern in $STATE_FILES; do
    # shellcheck disable=SC2254
    case $1 in
      $pattern) exit 0 ;;
    esac
  done
  exit 1
)

# Whether dpkg's configuration leaves a file out, as documentation on small images. The last rule that
# matches counts.
is_left_out() {
  rule=in
  while read -r kind pattern; do
    # shellcheck disable=SC2254
    case $1 in
      $pattern) rule=$kind ;;
    esac
  done <<END
$(cat "$DPKG_CONF/dpkg.cfg.d/"* "$DPKG_CONF/dpkg.cfg" 2>/dev/null |
    sed -nE 's/^[[:space:]]*path-(ex|in)clude[[:space:]=]+"?([^"]*[^"[:space:]])"?[[:space:]]*$/\1 \2/p')
END
  [ "$rule" = ex ]
}
