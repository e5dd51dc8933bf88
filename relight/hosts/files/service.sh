# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2153,SC2154,SC2164 # its variables and options are relight-host's
# Starts and restarts of the service, as a part of relight-host.

PROPERTIES=Id,Type,ControlGroup,TriggeredBy,LoadState,ActiveState,SubState,UnitFileState,MainPID,InvocationID,NRestarts,Result
PROPERTIES=$PROPERTIES,ExecMainStatus,ExecMainCode
PROPERTIES=$PROPERTIES,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic

UNIT_FILES='^(/usr)?/lib/systemd/system/|^/etc/systemd/system/' # of packages

# Run a systemd command; retry it if the connection to systemd broke. systemd re-executes itself
# when it is upgraded, and then drops its clients.
retry_systemd() {
  for pause in 0.1 0.5 2 0; do
    code=0
    output=$("$@" 2>&1) || code=$?
    case $code:$output in
      0:*) break ;;
      *'reset by peer'* | *'not connected'* | *disconnected* | *'connect to bus'*) sleep "$pause" ;;
      *) break ;;
    esac
  done
  if [ "$code" -ne 0 ]; then
    print_error "$output"
  elif [ -n "$output" ]; then
    printf '%s\n' "$output"
  fi
  return "$code"
}

# Print digests of the unit files that systemd reads: the package's, and those added on the host. It is
# never nothing, which is what a first boot records.
unit_files() {
  printf '%s\n' "$UNIT $MORE_UNITS"
  set --
  # A unit may be a pattern, as of all instances of a template, whose file it names too.
  # shellcheck disable=SC2030,SC2086,SC2231
  for unit in $UNIT $MORE_UNITS; do
    for file in /etc/systemd/system/$unit /etc/systemd/system/$unit.d/* \
      /run/systemd/system/$unit /run/systemd/system/$unit.d/*; do
      [ ! -f "$file" ] || set -- "$@" "$file"
    done
  done
  [ $# -eq 0 ] || sha256sum -- "$@" 2>/dev/null || true
  find_file_lists
  # shellcheck disable=SC2086
  [ -z "$file_lists" ] ||
    grep -hE -- "$UNIT_FILES" $file_lists | xargs -r -d '\n' sha256sum 2>/dev/null || true
}

# Before a change, record which unit files systemd has loaded, and when the change began. The files
# are unknown if an unfinished change left a different record, or if systemd does not report that
# everything is loaded.
record_loaded() {
  now=$(unit_files)
  # shellcheck disable=SC2086
  need=$(systemctl show --property=NeedDaemonReload --value -- $UNIT $MORE_UNITS 2>/dev/null) || need=yes
  case $need in
    '' | *yes*) now=unknown ;;
  esac
  if [ -e "$LOADED" ] && ! is_loaded "$now"; then now=unknown; fi
  make_run
  printf '%s\n' "$now" >"$LOADED"
  ticks >"$BEGUN"
}

# Whether these digests are on record as loaded.
is_loaded() {
  read_file "$LOADED"
  [ "$content" = "$1" ]
}

# Reload systemd only if a unit file changed: a reload reads every unit of the host, and is half of
# the cost of a change. systemd's own NeedDaemonReload compares file times: after a rollback the
# older file looks loaded, and the same file with a newer time looks changed. So systemd is asked
# before the change, and digests are compared after it.
reload_if_changed() {
  if [ ! -e "$LOADED" ] || ! is_loaded "$(unit_files)"; then
    retry_systemd systemctl daemon-reload || fail 90 'relight: systemd did not reload its unit files'
  fi
  rm -f "$LOADED"
}

# Print the properties of the service's units, and of others if they are named.
show_units() {
  # shellcheck disable=SC2086
  retry_systemd systemctl show --property="$PROPERTIES" -- $UNIT $MORE_UNITS "$@"
}

# Call a function for each unit that `systemctl show` has printed, with its properties in variables.
each_unit() {
  visit=$1
  id='' type='' cgroup='' main=0 started=0 triggers='' # a socket has no type
  while IFS='=' read -r property value <&3; do
    case $property in
      Id) id=$value ;;
      Type) type=$value ;;
      ControlGroup) cgroup=$value ;;
      TriggeredBy) triggers=$value ;;
      LoadState) load=$value ;;
      ActiveState) active=$value ;;
      SubState) sub=$value ;;
      UnitFileState) unit_file=$value ;;
      MainPID) main=$value ;;
      ExecMainStartTimestampMonotonic) started=$value ;;
      '')
        [ -z "$id" ] || [ "$id" = "${transaction-}" ] || "$visit"
        id='' type='' cgroup='' main=0 started=0 triggers=''
        ;;
    esac
  done 3<<END
$2

END
}

# Make the service run the installed release. A package without maintainer scripts replaces files and
# leaves the old processes running until this restart. A unit whose processes all run the installed
# release is left alone.
serve() {
  reload_if_changed
  shown=$(show_units) || fail 75 'relight: systemd does not answer'
  [ -n "$shown" ] || fail 90 "relight: there is no unit $UNIT"
  find_stale "$shown" || true
  each_unit prepare_unit "$shown"
  starts='' restarts='' reloads='' stops='' new_configuration=''
  { read -r _ _ _ how taken <"$WRITTEN"; } 2>/dev/null || taken=''
  [ "$taken" != no ] || new_configuration=$how
  each_unit choose_unit "$shown"
  # shellcheck disable=SC2086
  if [ -n "$stops" ]; then
    retry_systemd systemctl stop -- $stops || fail 90 "relight:$stops did not stop"
  fi
  # shellcheck disable=SC2086
  if [ -n "$starts" ]; then
    retry_systemd systemctl start -- $starts || fail 90 "relight:$starts did not start"
  fi
  # shellcheck disable=SC2086
  if [ -n "$reloads" ]; then
    retry_systemd systemctl reload-or-restart -- $reloads || fail 90 "relight:$reloads did not reload"
  fi
  # shellcheck disable=SC2086
  if [ -n "$restarts" ]; then
    restart $restarts || fail 90 "relight:$restarts did not start"
  fi
}

# Fail if a unit cannot start, and let it start at the next boot, if a socket does not start it. With
# try-restart the host decides which units run.
prepare_unit() {
  case $load:$unit_file in
    masked:* | *:masked*) fail 90 "relight: $id is masked on this host" ;;
    not-found:*) fail 90 "relight: there is no unit $id" ;;
    *:disabled) ;;
    *) return 0 ;;
  esac
  if [ "$ON_CHANGE" = try-restart ] || is_triggered; then return 0; fi
  retry_systemd systemctl --quiet enable -- "$id" || fail 90 "relight: $id could not be enabled"
}

# A socket stays open, so that no connection is refused meanwhile. What it started for one connection
# cannot be started again without it, and is stopped.
choose_unit() {
  case $id:$active:$ON_CHANGE in
    *@[0-9]*-*.service:active:*start | *@[0-9]*-*.service:failed:*)
      if is_triggered; then
        case $stale_units in
          *" $id "*) stops="$stops $id" ;;
        esac
        [ "$active" = active ] || systemctl reset-failed -- "$id" || true
        return
      fi
      ;;
  esac
  case $id:$active in
    *.socket:active) ;;
    *.socket:*) [ "$ON_CHANGE" = try-restart ] || starts="$starts $id" ;;
    *:active | *:reloading)
      case $stale_units:$ON_CHANGE:$new_configuration in
        *" $id "*:restart | *" $id "*:*restart:*) restarts="$restarts $id" ;;
        *" $id "*:reload:* | *:reload) reloads="$reloads $id" ;;
      esac
      ;;
    *:failed | *:activating)
      # systemd refuses to start a unit that reached its start limit, until it is reset.
      systemctl reset-failed -- "$id" || true
      restarts="$restarts $id"
      ;;
    *:inactive) [ "$ON_CHANGE" = try-restart ] || is_triggered || restarts="$restarts $id" ;;
    *) restarts="$restarts $id" ;;
  esac
}

# Whether a socket of the service starts this unit with the next connection.
is_triggered() {
  for trigger in $triggers; do
    case $open_sockets in
      *" $trigger "*) return 0 ;;
    esac
  done
  return 1
}

# Restart units. A crash loop may have reached its start limit since the state was read.
restart() {
  retry_systemd systemctl restart -- "$@" && return
  case $(systemctl show --property=Result --value -- "$@" 2>/dev/null) in
    *start-limit-hit*) ;;
    *) return 1 ;;
  esac
  systemctl reset-failed -- "$@" || true
  retry_systemd systemctl restart -- "$@"
}

release_service() {
  [ ! -e "$POLICY" ] || ! grep -q '^# relight' "$POLICY" || rm -f "$POLICY"
  [ ! -e "$HELD" ] || rm -f "$HELD"
}

# Release the service, and start what ran before a change that did not come to its end.
start_again() {
  content=''
  [ ! -e "$HELD" ] || read_file "$HELD"
  held=$content
  release_service
  # shellcheck disable=SC2086
  [ -z "$held" ] || retry_systemd systemctl start -- $held || true
}

journal() { journalctl --no-pager --quiet "$@"; }

# Print lines of the journal of all units of the service.
service_journal() {
  for unit in $UNIT $MORE_UNITS; do set -- "$@" --unit="$unit"; done
  journal "$@"
}
