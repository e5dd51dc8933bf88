# shellcheck shell=sh
# shellcheck disable=SC2154 # its variables are relight-host's
# How the SSH host key is exchanged, as a part of relight-host.

SSHD=ssh.service
MAX_KEYS=4096 # bytes of two private keys; each has some 400

# Change the host key. Whoever has stolen the client key alone does not know the present host key, so
# he cannot lock the control plane out. Keys are in no argument and in no output.
#
# Run twice, it changes nothing. Sessions go on: sshd starts again for new ones only.
change_host_key() {
  trap '' HUP PIPE # it goes on to the end, or back, also without its caller
  make_run
  umask 077 # nobody else may read a key, or hold the lock
  exec 9>"$RUN/host-key.lock"
  flock -w 30 9 || fail 91 'relight: the host key is being changed by another call'
  keys=$(mktemp --directory "$RUN/host-key.XXXXXXXXXX") || keys=''
  [ -d "$keys" ] || fail 91 "relight: no folder could be made in $RUN"
  trap 'rm -rf "$keys"' EXIT
  head -c "$MAX_KEYS" >"$keys/read"
  sed '/^-----END /q' "$keys/read" >"$keys/present"
  sed '1,/^-----END /d' "$keys/read" >"$keys/new"
  public=$(ssh-keygen -y -P '' -f "$keys/new" 2>/dev/null) || public=''
  case $public in
    'ssh-ed25519 '*) ;;
    *) fail 77 'relight: refused: what was read is not two Ed25519 keys without a passphrase' ;;
  esac
  if [ "$(cat "$keys/new")" != "$(cat "$HOST_KEY")" ]; then
    [ "$(cat "$keys/present")" = "$(cat "$HOST_KEY")" ] ||
      fail 77 "relight: refused: the caller does not know this host's present host key"
    cat "$HOST_KEY" >"$keys/old"
    reloaded=''
    put_host_key "$keys/new" || take_back_host_key 'the new host key could not be written'
  fi
  uses_host_key "$public" || take_back_host_key "$reason"
}

# Replace the host key at once: at each moment sshd finds one of them, complete.
put_host_key() {
  cat "$1" >"$HOST_KEY.relight" && sync "$HOST_KEY.relight" && mv -f "$HOST_KEY.relight" "$HOST_KEY" &&
    ssh-keygen -y -P '' -f "$1" >"$HOST_KEY.pub.relight" && chmod 644 "$HOST_KEY.pub.relight" &&
    mv -f "$HOST_KEY.pub.relight" "$HOST_KEY.pub"
}

# Let sshd read its host keys again, and ask it for the one that it shows. Sets `reason` if it fails,
# and `reloaded` if sshd may have read the new key.
uses_host_key() {
  reloaded=''
  reason=$(sshd -t 2>&1) || return 1
  configuration=$(sshd -T -C user=root,host=localhost,addr=127.0.0.1 2>&1) || { reason=$configuration && return 1; }
  reason="sshd does not use $HOST_KEY"
  printf '%s\n' "$configuration" | grep -qxF "hostkey $HOST_KEY" || return 1
  # Where systemd starts one sshd for each connection, there is none to reload.
  if systemctl is-active --quiet "$SSHD"; then
    reloaded=yes
    reason=$(retry_systemd systemctl reload -- "$SSHD" 2>&1) || return 1
  fi
  blob=${1#* }
  for pause in 0.1 0.2 0.5 1 2 3 0; do
    for address in $(printf '%s\n' "$configuration" | sed -n 's/^listenaddress //p'); do
      ! shown_at "$address" | grep -qF " ${blob%% *}" || return 0
    done
    sleep "$pause"
  done
  reason='sshd did not show the new host key'
  return 1
}

# Print the host key that sshd shows at an address of `sshd -T`, as in `0.0.0.0:22` or `[::]:22`.
shown_at() {
  host=${1%:*}
  case $host in
    0.0.0.0) host=127.0.0.1 ;;
    '[::]') host=::1 ;;
    \[*) host=${host#?} && host=${host%?} ;;
  esac
  ssh-keyscan -T 5 -t ed25519 -p "${1##*:}" "$host" 2>/dev/null || true
}

take_back_host_key() {
  if [ -s "$keys/old" ]; then
    put_host_key "$keys/old" || true
    [ -z "$reloaded" ] || retry_systemd systemctl reload-or-restart -- "$SSHD" || true
  fi
  fail 91 "relight: the host key was not changed: $1"
}
