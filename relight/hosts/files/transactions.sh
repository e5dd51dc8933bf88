# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # its variables are relight-host's
# Dry runs, changes that systemd runs, and what a host answers about itself, as a part of relight-host.

MAX_CONDITIONS=4096 # bytes of a unit's conditions
SYSTEMD=org.freedesktop.systemd1 # on D-Bus
TRANSIENT=/run/systemd/transient # where systemd keeps the files of units that have none of their own
BEGINS='relight: the change begins' # the first line of a transaction's log

# Print what would be installed, and from where. The host's own sources are refreshed only if ours is
# not enough.
dry_run() {
  version=$1 direction=$2 list=$SOURCE target=$PACKAGE=$1 locked=''
  if [ $# -eq 2 ]; then
    refresh
    require_listed "$version"
    [ "$PACKAGES:$direction" = :upgrade ] || locked=$(locked_packages "$version")
  else
    shift 2
    target=./${PACKAGE}_${version#*:}_$4.deb list=/dev/null
    fetch "$target" "$version" "$@"
  fi
  # shellcheck disable=SC2086 # names without blanks
  set -- install -- "$target" $locked
  [ "$direction" = upgrade ] || set -- --allow-downgrades "$@"
  simulate=yes
  install_with_what_it_needs "$list" "$@"
}

# Print what apt would download, how much, and the free space in bytes.
print_sizes() {
  apt_install "$list" --print-uris "$@" | grep -E "^'|^(Need to get|After this operation)" || true
  for place in /usr "$ARCHIVES"; do
    free=$(df --output=avail --block-size=1 "$place" 2>/dev/null | tail -n 1) || free=''
    printf 'relight: free in %s: %s\n' "$place" "${free##* }"
  done
}

# Start a change or attach to it, wait, and observe.
swap() {
  unit=$1 seconds=$2 deadline=$3
  shift 3
  check_unit "$unit"
  check_number "$seconds"
  check_number "$deadline"
  configuration=''
  case $# in
    3 | 7) shift ;; # the settings were compared first
    4 | 8)
      configuration=$2
      shift 2
      check_digest "$configuration"
      ;;
  esac
  check_change "$@"
  if [ -n "$configuration" ]; then
    require_configuration "$configuration"
    set -- "$configuration" "$@"
  fi
  section begin begin "$unit" "$deadline" "$@"
  wait_for "$unit" "$seconds"
  observe "$unit"
  running_child "$transaction"
}

# Install, and have the service run that with its configuration: what a transaction does.
change() {
  configuration=''
  case $# in
    3 | 7) configuration=$1 && check_digest "$configuration" && shift ;;
  esac
  check_change "$@"
  printf '%s\n' "$BEGINS"
  prepared=''
  start_again # the last change may have been killed
  trap clean_up EXIT
  trap 'exit 143' HUP INT TERM # at the deadline, or as somebody cancels it
  ! needs_configuration "$configuration" || installed "$1" || hold_service || true
  set +e # in a list, `set -e` would not hold in the subshell either
  (set -e && install_unless_just_done "$@")
  ended=$?
  set -e
  # A hook of another program may fail after dpkg has done its work: the new file must not lie
  # there beside the old process.
  [ "$ended" -eq 0 ] || installed "$1" || exit "$ended"
  deb_sha256=${4:-}
  record_content "$1" || true # without it the digest is unknown
  record_together || true
  take_configuration "$configuration"
  release_service
  serve
  end_configuration
  exit "$ended"
}

# The first boot has installed the release, and apt need not run again.
install_unless_just_done() {
  if [ -e "$JUST_INSTALLED" ]; then
    read_file "$JUST_INSTALLED"
    rm -f "$JUST_INSTALLED"
    if [ "$content" = "$1" ] && installed "$1"; then return 0; fi
  fi
  install_package "$@"
}

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
  for pid in $(sort -n "$CGROUPS$group/cgroup.procs" 2>/dev/null); do
    line=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | head -c 300) || continue
    newest=$line
    case $line in */dpkg/info/* | */dpkg/tmp.ci/*) script=$line ;; esac
  done
  printf '%s\n' "${script:-$newest}"
}

# Add the section of what a transaction waits for, if it ran when it was observed.
running_child() {
  transaction='' waited_for=$1
  each_unit show_child "$shown"
}

show_child() {
  case $id:$main in
    "$waited_for:"[1-9]*) section child child_of "$id" ;;
  esac
}

# Wait until a transaction ends, for at most so many seconds.
wait_for() {
  case $2 in
    *[1-9]*) ;;
    *) return 0 ;; # `timeout 0` has no limit
  esac
  pid=''
  # Its first process, which the kernel names first. To ask systemd costs the host more.
  for group in "$CGROUPS/systemd/system.slice/$1" "$CGROUPS/system.slice/$1"; do
    [ ! -e "$group/cgroup.procs" ] || read -r pid <"$group/cgroup.procs" || true
  done 2>/dev/null
  # If systemd does not answer, `observe` reports it.
  [ -n "$pid" ] || pid=$(systemctl show --property=MainPID --value -- "$1" 2>/dev/null) || return 0
  case $pid in
    '' | 0) return ;;
  esac
  timeout "$2" tail --pid="$pid" --sleep-interval=0.02 --follow /dev/null || true
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

# Print what systemd last found of the conditions of a unit that does not run, and is not to: a line
# for each property, as D-Bus has it. `systemctl show` does not print them.
print_conditions() {
  case $load:$active in
    loaded:inactive) ! is_triggered || return 0 ;;
    *) return 0 ;;
  esac
  object=$(busctl call "$SYSTEMD" /org/freedesktop/systemd1 "$SYSTEMD.Manager" LoadUnit s "$id" 2>/dev/null) || return 0
  object=${object#o \"}
  for property in Unit.Conditions Unit.Asserts Service.ExecCondition; do
    value=$(busctl get-property "$SYSTEMD" "${object%\"}" "$SYSTEMD.${property%.*}" "${property#*.}" 2>/dev/null) || continue
    printf '%s %s %s\n' "$id" "${property#*.}" "$value" | head -c "$MAX_CONDITIONS"
  done
}

# Print a line for each further package of the service: its name, the version that the last change left,
# and its state. Of a package that is named it is told if it is missing; of one that is locked to ours,
# only if it was there: another one may stand for it.
# shellcheck disable=SC2016 # dpkg-query expands these
print_siblings() {
  find_packages
  for sibling in $packages; do
    [ "$sibling" != "$PACKAGE" ] || continue
    left=''
    while read -r name version more; do
      if [ "$name:$more" = "$sibling:" ]; then left=$version; fi
    done <<END
$(sed 1d "$TOGETHER" 2>/dev/null)
END
    case "${left:+known} $PACKAGES " in
      known* | *" $sibling "*) ;;
      *) continue ;;
    esac
    state=$(dpkg-query --show --showformat='${db:Status-Abbrev}\t${Version}\t${Architecture}\n' -- \
      "$sibling" 2>/dev/null) || state=''
    printf '%s\t%s\t%s\n' "$sibling" "$left" "${state%%"$NEWLINE"*}"
  done
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
  case $shown in
    *ActiveState=inactive*) print_section conditions 0 "$(each_unit print_conditions "$shown")" ;;
  esac
  print_section boot 0 "$boot"
  read_damage
  print_section verify 0 "$damage"
  section siblings print_siblings
  section content recorded
  section settings settings_digest
  [ ! -f "$WRITTEN" ] || section configuration print_configuration
}

# Stop a transaction, and delete it from systemd. A unit that has a file is none of ours.
forget() {
  [ -e "$TRANSIENT/$1" ] || return 0
  retry_systemd systemctl stop -- "$1" 2>/dev/null || true
  [ ! -e "$TRANSIENT/$1" ] || systemctl reset-failed -- "$1" 2>/dev/null || true
}

# Print what the last start of a transaction wrote. The journal is asked for its unit and not for its
# start: of a program that ended before journald read its lines, journald knows the unit only.
transaction_log() {
  journal --lines=200 --output=cat "_SYSTEMD_UNIT=$1" |
    sed -n -e "/^$BEGINS\$/{h;d}" -e "H;\${x;p}" | tail -n +2
}

# Stop a transaction, and let dpkg finish what it had begun.
stop() {
  forget "$1"
  start_again
  # A script that hangs would do so again, and the caller waits.
  timeout --kill-after=5 20 dpkg --force-confdef --force-confold --configure -a </dev/null || true
  ! interrupted || dpkg --set-selections </dev/null || true
}
