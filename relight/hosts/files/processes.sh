# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2153,SC2154,SC2164 # its variables and options are relight-host's
# shellcheck disable=SC3013 # the shells of Debian and Ubuntu know -ef
# What the processes of the service run, as a part of relight-host.
#
# dpkg replaces every file of a package, also one with the same content. So a process that executes a
# file of the package runs the new release if that is the file on disk, even if it started earlier and
# executed itself again. Of an interpreter or another package's program the kernel does not tell what
# it has read: such a process must have started after the change.

UNPACKED=/var/lib/relight/unpacked
CGROUPS=/sys/fs/cgroup
MAX_PROCESSES=4096 # of all units together
MAX_STALE=20       # processes that are named in one answer

# Set `start`, in ticks since boot (1/100 s), and `parent` of a process. Fails if it has ended.
read_stat() {
  stat=''
  while IFS= read -r line; do stat="$stat $line"; done <"/proc/$1/stat" || return 1
  # The name in parentheses may contain anything. A zombie runs nothing.
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  case ${1:-Z} in
    [ZX]) return 1 ;;
  esac
  parent=$2 start=${20}
} 2>/dev/null

# Print the present time in ticks since boot, on the clock of the processes' starts. Nothing moves it.
ticks() { read_stat self && printf '%s\n' "$start"; }

# Set `file_lists` to the files with the paths of the packages' files; dpkg writes one when it unpacks.
find_file_lists() {
  file_lists=''
  find_packages
  for package in $packages; do
    for file in "$INFO/$package.list" "$INFO/$package":*.list; do
      [ ! -e "$file" ] || file_lists="$file_lists $file"
    done
  done
}

# Set `changed` to the time when dpkg last unpacked one of the packages, in ticks since boot; 0: before
# this boot. `unpacked` is that time by the clock.
#
# It is computed from the clock once and kept, because the clock may be set later. If it is set
# during a change, the beginning of the change bounds the error.
read_change() {
  changed=0 configured=0
  read -r boot </proc/sys/kernel/random/boot_id
  read_configured
  [ -n "$file_lists" ] || return 0
  kept='' kept_boot='' kept_ticks=0
  { read -r kept kept_boot kept_ticks <"$UNPACKED"; } 2>/dev/null || true
  if [ "$kept" = "$unpacked" ]; then
    [ "$kept_boot" != "$boot" ] || changed=$kept_ticks
    return 0
  fi
  # Rather too late than too early, by 1/50 s: the file's time may be that much too early. On a busy
  # host time passes between two readings, so the later one counts.
  for _ in 1 2 3; do
    early=$(ticks) clock=$(date +%s%2N) now=$(ticks)
    [ $((now - early)) -gt 5 ] || break
  done
  fraction=${unpacked#*.}
  age=$((clock - ${unpacked%.*}${fraction%"${fraction#??}"} - 2))
  [ "$age" -ge 0 ] || age=0
  changed=$((now - age))
  begun=0
  { read -r begun <"$BEGUN"; } 2>/dev/null || true
  # What started in the same tick as the change is old: to unpack takes longer.
  [ "$changed" -gt "$begun" ] || changed=$((begun + 1))
  [ -d "${UNPACKED%/*}" ] || mkdir -p "${UNPACKED%/*}"
  # A full disk, or a record that is cut short, costs another reading of the clock.
  { printf '%s %s %s\n' "$unpacked" "$boot" "$changed" >"$UNPACKED"; } 2>/dev/null || true
}

# Set `configured` to the time when the service's configuration was changed, in ticks since boot, if the
# service takes a change by a restart.
read_configured() {
  kept_boot='' kept_ticks=0 how=''
  { read -r _ kept_boot kept_ticks how _ <"$WRITTEN"; } 2>/dev/null || true
  [ "$kept_boot:$how" != "$boot:restart" ] || configured=$kept_ticks
}

# Compare what runs with what is installed. Takes what `systemctl show` printed of the service's units.
#
# Sets `stale`, a line for each process that does not run the release, `stale_units`, `running`, the
# file of the main process, `open_sockets`, and `unproven` to 0 if all that should runs the release.
find_stale() {
  unproven=1
  stale='' stale_units=' ' stale_count=0 pids='' mains=' ' running='' runs_executable=''
  process_count=0 rests='' open_sockets=' ' live_units=' ' own_files=$NEWLINE own_scripts=''
  executed_again=''
  find_file_lists
  # shellcheck disable=SC2086
  files=$NEWLINE$(cat /dev/null $file_lists)$NEWLINE
  each_unit collect_unit "$1"
  read_links
  read_change
  for pid in $pids; do judge_process; done
  judge_mapped
  judge_escaped
  each_unit judge_unit "$1"
  [ "$process_count" -lt "$MAX_PROCESSES" ] || report "$UNIT" "has too many processes to judge"
  [ -z "$EXECUTABLE" ] || [ -n "$runs_executable" ] || [ -z "$running" ] ||
    report "$UNIT" "runs $running, not the installed $EXECUTABLE"
  [ -n "$stale" ] || [ -z "$running$rests" ] || unproven=0
}

# Report a unit that does not run the release; only the first are named.
report() {
  stale_units="$stale_units$1 "
  stale_count=$((stale_count + 1))
  [ "$stale_count" -gt "$MAX_STALE" ] || stale="$stale${stale:+$NEWLINE}$1 $2"
}

report_process() { serves_session "$pid" || report "$unit" "has process $pid, which $1"; }

# Whether a process is of a session that somebody logged in to, as children of sshd and cron are: it goes
# on to the end of the session, whatever is restarted. A service that opens a session itself has none.
serves_session() {
  read_session "$1"
  [ -n "$session" ] || return 1
  for main_pid in $mains; do
    read_session "$main_pid"
    [ -z "$session" ] || return 1
  done
}

# Set `session` to the id of the session of a process; empty if it is in none.
read_session() {
  session=''
  read -r session <"/proc/$1/sessionid" || true # it has no line end
  [ "$session" != 4294967295 ] || session=''
} 2>/dev/null

collect_unit() {
  case $id:$active in
    *.socket:active) open_sockets="$open_sockets$id " ;;
  esac
  mains="$mains$main "
  case $cgroup in
    /?*) ;;
    *) return ;;
  esac
  if [ -e "$CGROUPS/systemd/cgroup.procs" ]; then # where systemd uses the old hierarchies
    collect_group "$CGROUPS/systemd$cgroup"
  else
    collect_group "$CGROUPS$cgroup"
  fi
}

# Collect the processes of a control group, and of all below it.
collect_group() {
  while read -r pid && [ "$process_count" -lt "$MAX_PROCESSES" ]; do
    eval "unit_$pid=\$id"
    pids="$pids $pid"
    process_count=$((process_count + 1))
  done <"$1/cgroup.procs"
  for group in "$1"/*/; do
    [ ! -e "$group/cgroup.procs" ] || collect_group "${group%/}" || true
  done
} 2>/dev/null

# Whether a time in seconds, with a fraction, is later than another.
is_later() {
  [ "${1%.*}" -gt "${2%.*}" ] || { [ "${1%.*}" -eq "${2%.*}" ] && [ "${1#*.}" -gt "${2#*.}" ]; }
}

# Read which files the processes execute, and note others that execute a deleted file. One program
# reads all, and when the packages' lists of files were written: most of the cost is to start programs.
read_links() {
  unpacked=0.0 elsewhere='' ours=''
  for pid in $pids; do ours="$ours /proc/./$pid/exe"; done
  # shellcheck disable=SC2086
  links=$(find $file_lists $ours /proc/[0-9]*/exe -maxdepth 0 \
    \( -name '*.list' -printf '%T@\n' \) -o \
    \( -path '/proc/./*' -o -lname '* (deleted)' \) -printf '%h %l\n' 2>/dev/null) || true
  set -f
  IFS=$NEWLINE
  for line in $links; do
    case $line in
      [0-9]*) # Times have the same number of digits.
        ! is_later "$line" "$unpacked" || unpacked=$line
        continue
        ;;
    esac
    link=${line#* } pid=${line%% *}
    pid=${pid##*/}
    # The name of a file may contain a line end.
    case $pid in
      '' | *[!0-9]*) continue ;;
    esac
    eval "unit=\${unit_$pid-}"
    case $unit:$link in
      ?*:/*) ;;
      :/*' (deleted)') elsewhere="$elsewhere $pid" ;;
      *) continue ;;
    esac
    eval "link_$pid=\$link"
  done
  set +f
  unset IFS
}

# Set `own` to `installed` if a file is one that the package has on disk, to `old` if it only has the
# path of one, or to nothing; and `namesake`, if the package has one of its name. The second argument
# leads to the same file where its path does not.
find_own() {
  own='' namesake=''
  case $files in
    *"$NEWLINE$1$NEWLINE"*)
      own=old namesake=yes
      [ ! "$1" -ef "$2" ] || own=installed
      return
      ;;
    *"/${1##*/}$NEWLINE"*) ;; # perhaps by another path, as /bin is /usr/bin
    *) return ;;
  esac
  if [ "$1" != "${searched-}" ]; then
    searched=$1
    same_names=$(printf %s "$files" | grep -F -- "/${1##*/}") || same_names=''
  fi
  while read -r path; do
    case $path in
      "$1" | "${1#/usr}") own=${own:-old} ;;
      */"${1##*/}") ;;
      *) continue ;;
    esac
    namesake=yes
    [ ! "$path" -ef "$2" ] || own=installed
  done <<END
$same_names
END
}

# Whether any package on this host has a file.
is_packaged() { grep -qsxF -e "$1" -e "${1#/usr}" -- "$INFO"/*.list; }

is_shell() {
  case ${1##*/} in
    dash | bash | sh | busybox) ;;
    *) return 1 ;;
  esac
}

# Whether a process is a main one: systemd started it, or it left its parent, or a main process that is
# a shell script started it.
is_leading() {
  eval "above=\${unit_$parent-} link_above=\${link_$parent-}"
  [ -n "$above" ] || return 0
  is_shell "$link_above" || return 1
  read_stat "$parent" || return 1
  eval "above=\${unit_$parent-}"
  [ -z "$above" ]
}

judge_process() {
  eval "link=\${link_$pid-} unit=\$unit_$pid"
  [ -n "$link" ] && read_stat "$pid" || return 0 # it has ended
  live_units="$live_units$unit "
  [ "$start" -ge "$configured" ] || report_process "started before its configuration was changed"
  file=${link% (deleted)}
  find_own "$file" "/proc/$pid/exe"
  case $own in
    installed)
      own_files="$own_files$file$NEWLINE"
      [ "$start" -ge "$changed" ] || executed_again="$executed_again $pid"
      ;;
    old)
      own_files="$own_files$file$NEWLINE"
      report_process "runs the old $link"
      ;;
    *)
      [ "$start" -ge "$changed" ] || report_process "runs $link and started before the change"
      ;;
  esac
  case $mains in
    *" $pid "*) running=$link ;;
  esac
  if is_leading; then
    running=${running:-$link}
    judge_leading
  elif [ -z "$own" ] && [ -n "$namesake" ]; then
    is_packaged "$file" || report_process "runs $link, which no package contains"
  fi
}

# Judge a process that could run another program than the package's: a copy, or an old version.
judge_leading() {
  [ -z "$EXECUTABLE" ] || [ ! "$EXECUTABLE" -ef "/proc/$pid/exe" ] || runs_executable=yes
  case ${file##*/}:$own in
    *:?*) ;;
    systemd:* | systemd-executor:*) report_process "has not started its program yet" ;;
    *)
      [ -n "$EXECUTABLE" ] && [ "$EXECUTABLE" -ef "/proc/$pid/exe" ] || is_packaged "$file" ||
        report_process "runs $link, which no package contains"
      ;;
  esac
  case ${file##*/} in
    python* | perl* | ruby* | node | nodejs | php* | java | lua* | tclsh* | dash | bash | sh | busybox) ;;
    *) return 0 ;;
  esac
  find_script
  [ -n "$script" ] || return 0
  if [ -n "$EXECUTABLE" ] && [ "$EXECUTABLE" -ef "$script" ]; then
    runs_executable=yes
    return
  fi
  find_own "$script" "$script"
  if [ "$own" = installed ]; then
    own_scripts="$own_scripts${own_scripts:+$NEWLINE}$script"
    return
  fi
  is_packaged "$script" || is_packaged "$(readlink -f "$script")" ||
    report_process "runs $script, which no package contains"
}

# Set `script` to the first argument of an interpreter that is a file: a script, or Java's archive,
# also as the first of a class path. It is no configuration, which options name.
find_script() {
  script='' word=''
  while IFS= read -r word; do
    case $word in
      -c | -[a-z]c | -e | -m) break ;; # code or a module follows
      /etc/init.d/*) ;;
      -* | /etc/*) continue ;;
      /*) word=${word%%:*} ;;
      *) word=/proc/$pid/cwd/${word%%:*} ;;
    esac
    [ ! -f "$word" ] || { script=$word && break; }
  done <<END
$(tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | sed 1d)
END
}

# Report processes that have mapped an old library of the package, or another one of its name.
judge_mapped() {
  libraries='' maps='' last=''
  case $files in
    *.so["$NEWLINE".]*) libraries=$(printf %s "$files" | grep -o '[^/]*\.so[.0-9]*$') || libraries='' ;;
  esac
  for pid in ${libraries:+$pids} $executed_again; do maps="$maps /proc/$pid/maps"; done
  [ -n "$maps" ] || return 0
  # shellcheck disable=SC2086
  mapped=$(grep -HF -- " (deleted)${libraries:+$NEWLINE$libraries}" $maps 2>/dev/null) || return 0
  while IFS= read -r line; do
    pid=${line#/proc/} pid=${pid%%/*}
    link=${line#*:}
    link=/${link#*/}
    file=${link% (deleted)}
    case $link in
      /dev/* | /memfd:* | /SYSV*) continue ;;
    esac
    [ "$pid$link" != "$last" ] || continue
    last=$pid$link
    eval "unit=\${unit_$pid-} executed=\${link_$pid-}"
    [ "$executed" != "$link" ] || continue # already reported, if it is the package's
    find_own "$file" "$link"
    case $own:$link in
      old:*' (deleted)') report_process "has mapped the old $file" ;;
      :*.so | :*.so.* | :*.so' (deleted)')
        case $NEWLINE$libraries$NEWLINE in
          *"$NEWLINE${file##*/}$NEWLINE"*)
            is_packaged "$file" || report_process "has mapped $link, which no package contains"
            ;;
        esac
        ;;
    esac
  done <<END
$mapped
END
}

# Report processes outside of the units that run what the units run, but an old file, or since before
# the change. Sessions of people and containers are none of the service's.
judge_escaped() {
  suspects=''
  for pid in $elsewhere; do
    eval "link=\$link_$pid"
    case $own_files in
      *"$NEWLINE${link% (deleted)}$NEWLINE"*) suspects="$suspects $pid" ;;
    esac
  done
  if [ -n "$own_scripts" ]; then
    while IFS=/ read -r _ _ pid _; do
      [ -n "$pid" ] || continue
      eval "unit=\${unit_$pid-}"
      if [ -z "$unit" ] && read_stat "$pid" && [ "$start" -lt "$changed" ]; then
        suspects="$suspects $pid"
      fi
    done <<END
$(grep -lzxF -- "$own_scripts" /proc/[0-9]*/cmdline 2>/dev/null)
END
  fi
  for pid in $suspects; do
    [ "/proc/$pid/root" -ef / ] || continue
    group=$(cat "/proc/$pid/cgroup" 2>/dev/null) || continue
    case $group in
      */user.slice/*) ;;
      *) report "$UNIT" "has process $pid, which left it for ${group##*:} and runs the old release" ;;
    esac
  done
}

# Report a unit that has no process where it should have one, or that ran before the change.
judge_unit() {
  case $live_units in
    *" $id "*) return ;;
  esac
  case $id:$active:$sub:$type in
    *.socket:* | *:oneshot) ;;
    *:active:running:* | *:active:exited:*) report "$id" "has no process" ;;
  esac
  case $id:$active:$sub:$type in
    *.socket:*) rests=yes ;;
    *:active:exited:oneshot)
      rests=yes
      [ $((started / 10000)) -ge "$changed" ] || report "$id" "ran before the change"
      [ $((started / 10000)) -ge "$configured" ] || report "$id" "ran before its configuration was changed"
      ;;
    *:inactive:*) ! is_triggered || rests=yes ;;
  esac
}

