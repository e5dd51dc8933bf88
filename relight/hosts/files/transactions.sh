# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # its variables are relight-host's
# Changes that systemd runs, and what a host answers about itself, as a part of relight-host.

# Start a transaction, which systemd kills after so many seconds, with all that it started: a script
# of a package may hang. With --pipe or --scope dpkg would be killed by a broken pipe when the SSH
# connection breaks.
begin() {
  unit=$1 deadline=$2
  shift 2
  retry_systemd systemd-run --unit="$unit" --description="relight: $PACKAGE $1" --quiet --no-ask-password \
    --property=Type=exec --property=RemainAfterExit=yes \
    --property="RuntimeMaxSec=$deadline" --property=TimeoutStopSec=10 \
    --property=StandardOutput=journal --property=StandardError=journal "$0" change "$@"
}

# Print what a running transaction waits for: the command line of a script of a package, else that of
# its newest process.
child_of() {
  group=$(systemctl show --property=ControlGroup --value -- "$1")
  newest='' script=''
  # shellcheck disable=SC2013 # a line is a number
  for pid in $(sort -n "/sys/fs/cgroup$group/cgroup.procs" 2>/dev/null); do
    line=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | head -c 300) || continue
    newest=$line
    case $line in */dpkg/info/* | */dpkg/tmp.ci/*) script=$line ;; esac
  done
  printf '%s\n' "${script:-$newest}"
}

# Add the section of what a transaction waits for, if it runs.
running_child() {
  case $(systemctl show --property=MainPID --value -- "$1" 2>/dev/null) in
    '' | 0) ;;
    *) section child child_of "$1" ;;
  esac
}

# Wait until a transaction ends, for at most so many seconds.
wait_for() {
  case $2 in
    *[1-9]*) ;;
    *) return 0 ;; # `timeout 0` has no limit
  esac
  # If systemd does not answer, `observe` reports it.
  pid=$(systemctl show --property=MainPID --value -- "$1" 2>/dev/null) || return 0
  case $pid in
    '' | 0) return ;;
  esac
  timeout "$2" tail --pid="$pid" --sleep-interval=0.1 --follow /dev/null || true
}

# Run a command and print its section: its output, indented so that no line of it can look like the
# end of the section; then its name and exit code.
section() {
  name=$1 code=0
  shift
  output=$("$@" 2>&1 </dev/null) || code=$?
  print_section "$name" "$code" "$output"
}

print_section() {
  while IFS= read -r line; do
    printf ' %s\n' "$line"
  done <<END
$3
END
  printf '%s %d\n' "$1" "$2"
}

# Print all sections. `units` has the service's units and a transaction's, if named.
# shellcheck disable=SC2016 # dpkg-query expands these
observe() {
  shown=$(show_units "$@" 2>&1) || fail 75 "$shown"
  print_section units 0 "$shown"
  [ $# -eq 0 ] || print_section transaction 0 "$1"
  section package dpkg-query --show \
    --showformat='${db:Status-Abbrev}\t${Version}\t${Architecture}\n' -- "$PACKAGE"
  transaction=${1:-}
  find_stale "$shown" || true # what ends meanwhile is no error
  print_section file "$unproven" "$running"
  print_section stale 0 "$stale"
  print_section boot 0 "$boot"
  read_damage
  print_section verify 0 "$damage"
  section content recorded
  section settings settings_digest
}

# Stop a transaction, and delete it from systemd. A unit that has a file is none of ours.
forget() {
  [ "$(retry_systemd systemctl show --property=Transient --value -- "$1")" = yes ] || return 0
  retry_systemd systemctl stop -- "$1" 2>/dev/null || true
  systemctl reset-failed -- "$1" 2>/dev/null || true
}

# Print what the last start of a transaction wrote. The journal is asked for its unit and not for its
# start: of a program that ended before journald read its lines, journald knows the unit only.
transaction_log() {
  journal --lines=200 --output=cat "_SYSTEMD_UNIT=$1" |
    sed -n -e "/^$BEGINS\$/{h;d}" -e "H;\${x;p}" | tail -n +2
}
