# shellcheck shell=sh
# shellcheck disable=SC2034 # its variables are relight-host's
# How apt has the signature of our source checked, as a part of relight-host.

VERIFIER=/var/lib/relight/verify
APT_KEY=/usr/bin/apt-key # newer apts have none, and call gpgv or sqv themselves

# Set `verifier` to the options by which apt calls gpgv at once. Its own apt-key starts 20 programs
# before, which are a sixth of the cost of a change, and then calls gpgv in the same way: with the one
# keyring of a source. In all other cases it is still apt-key that is called, also if apt's options say
# more of keys: an apt since 2.7.13 always says which algorithms are strong enough.
put_verifier() {
  verifier=''
  [ -x "$APT_KEY" ] || return 0
  # shellcheck disable=SC2016 # it is expanded there
  set -- '#!/bin/sh' \
    'case "$1 $2 $3 $4 $5" in' \
    '"--quiet --readonly --keyring "*".gpg verify")' \
    'if [ -r "$4" ] && [ -r "$APT_CONFIG" ] && ! grep -qi "^APT::Key::" "$APT_CONFIG" &&' \
    'command -v gpgv >/dev/null; then' \
    'keyring=$4' \
    'shift 5' \
    'exec gpgv --homedir /nonexistent --keyring "$keyring" --ignore-time-conflict "$@"' \
    'fi' \
    ';;' \
    'esac' \
    "exec $APT_KEY"' "$@"'
  wanted=$(printf '%s\n' "$@")
  content=''
  [ ! -x "$VERIFIER" ] || read_file "$VERIFIER"
  if [ "$content" != "$wanted" ]; then
    # apt calls it as its own user. A full disk is reported by apt.
    { mkdir -p "${VERIFIER%/*}" && chmod 755 "${VERIFIER%/*}" && printf '%s\n' "$wanted" >"$VERIFIER.new" &&
      chmod 755 "$VERIFIER.new" && mv -f "$VERIFIER.new" "$VERIFIER"; } || return 0
  fi
  # It may not be executed everywhere.
  [ ! -x "$VERIFIER" ] || verifier="-o Dir::Bin::apt-key=$VERIFIER"
}
