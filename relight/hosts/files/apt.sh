# shellcheck shell=sh
# shellcheck disable=SC2034,SC2119,SC2120,SC2153,SC2154,SC2164 # its variables and options are relight-host's
# Installations by apt, as a part of relight-host and of its short form.

NO_HOOKS=$RUN/apt.conf
APT_CONF=/etc/apt/apt.conf
UPDATES=/var/lib/dpkg/updates
run_is_made='' # by this call
PATIENCE=60    # seconds that a lock of apt or dpkg is waited for

# Run an apt program on one list of sources: ours, none (/dev/null), or with '' all of this host.
# Reading Debian's full index as well would be most of the cost of a change.
on_source() {
  list=$1 program=$2
  shift 2
  if [ -n "$list" ]; then
    set -- -o "Dir::Etc::sourcelist=$list" -o Dir::Etc::sourceparts=- \
      -o APT::Get::List-Cleanup=0 -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
  fi
  # A release is asked for by its version: a phase that is meant for whole distributions must not
  # keep back what it needs.
  "$program" -q -o Acquire::http::Timeout=5 -o Acquire::https::Timeout=5 -o Acquire::Retries=0 \
    -o APT::Get::Always-Include-Phased-Updates=true -o DPkg::Lock::Timeout="$PATIENCE" "$@"
}

# Refresh a list of sources. By default `apt-get update` exits with 0 when a repository is down or
# badly signed. Error-Mode=any makes it fail, so that an old index is never used.
#
# apt waits for dpkg's lock, but not for the one of its lists, which apt-daily takes at a first boot.
update() {
  list=$1
  shift
  waited=0
  while :; do
    code=0
    # The next command reads the index once, so no cache is generated.
    updated=$(on_source "$list" apt-get -o APT::Update::Error-Mode=any \
      -o pkgCacheFile::Generate=false "$@" update 2>&1) || code=$?
    case $code:$updated in
      0:*) ;;
      *'/lists/lock'*)
        if [ "$waited" -lt "$PATIENCE" ]; then
          [ "$waited" -ne 0 ] || echo "relight: waiting for another apt, which has the package lists"
          waited=$((waited + 1))
          sleep 1
          continue
        fi
        ;;
    esac
    [ -z "$updated" ] || printf '%s\n' "$updated"
    return "$code"
  done
}

# Refresh our source. Whoever has its key may give it another Origin or Label.
refresh() {
  put_verifier
  code=0
  # shellcheck disable=SC2086
  update "$SOURCE" $verifier -o Acquire::AllowReleaseInfoChange=true || code=$?
  [ "$code" -ne 0 ] || return 0
  [ -z "$verifier" ] || rm -f "$VERIFIER" # the next attempt makes sure of it
  # Its proxy is the host's, not the repository's.
  apt-config dump | sed -n -e '/"DIRECT"/d' -e 's,//[^/@]*@,//,' \
    -e 's/^Acquire::https\{0,1\}::Proxy[^ ]* "\(..*\)";$/relight: the proxy of this host is \1/p'
  # If apt cannot create InRelease, it drops it silently and then reports that the repository has
  # no Release file. Creating a file beside it prints the real error, such as a full disk. Not in
  # `partial`: that belongs to apt's own user, who could put a link there.
  lists=$(apt-config shell lists Dir::State::Lists/d)
  lists=${lists#*\'}
  probe=$(mktemp "${lists%\'*}relight.XXXXXXXXXX") && rm -f "$probe"
  exit "$code"
}

# Fail if our source does not list a version.
require_listed() {
  on_source "$SOURCE" apt-cache madison "$PACKAGE" | grep -qF -- " $1 | " ||
    fail 100 "E: Version '$1' for '$PACKAGE' was not found"
}

# Make our folder in /run. It must be root's alone, whoever made it.
make_run() {
  [ -z "$run_is_made" ] || return 0
  [ -d "$RUN" ] || mkdir -p "$RUN"
  # shellcheck disable=SC3067 # the shells of Debian and Ubuntu know -O
  [ ! -O "$RUN" ] || run_is_made=$(find "$RUN" -maxdepth 0 -type d ! -perm /022)
  [ -n "$run_is_made" ] || fail 100 "E: $RUN is not a folder that only root may write to"
}

# Install from a list of sources, with further options. Nothing is ever removed.
#
# apt's planner log is off: compressing it, with all installed packages, is a sixth of apt's work.
# debconf's hook is off too: it is another third. It asks its questions before unpacking; here
# nobody answers, and without it the packages' own scripts use their defaults, as on a host without
# apt-utils. If another program has a hook as well, all hooks stay on.
apt_install() {
  list=$1
  shift
  # apt accepts `#clear` in a file only.
  case $(grep -rlF Pre-Install-Pkgs "$APT_CONF" "$APT_CONF.d" 2>/dev/null) in
    "$APT_CONF.d/70debconf")
      make_run
      printf '#clear DPkg::Pre-Install-Pkgs;\n' >"$NO_HOOKS"
      set -- -c "$NO_HOOKS" "$@"
      ;;
  esac
  on_source "$list" apt-get -y --no-install-recommends --no-remove -o Dir::Log::Planner=/dev/null \
    -o DPkg::Options::=--force-confdef -o DPkg::Options::=--force-confold "$@"
}

# Install our package from a list of sources, as said. If apt refuses to, the packages that are locked
# to ours are named too, and then all sources of this host are read. $simulate is yes for a dry run.
#
# Cloud images come without any list, or with old ones that name files which are gone: so the host's
# own sources are refreshed first.
install_with_what_it_needs() {
  list=$1
  shift
  for attempt in alone locked everywhere; do
    case $attempt in
      locked)
        if [ -n "$locked" ] || [ "$list" != "$SOURCE" ]; then continue; fi
        locked=$(locked_packages "$version")
        [ -n "$locked" ] || continue
        # shellcheck disable=SC2086 # names without blanks
        set -- "$@" $locked
        printf '%s: %s\n' 'relight: retrying with the packages that are locked to it' \
          "$(printf '%s' "$locked" | tr '\n' ' ')"
        ;;
      everywhere)
        echo "relight: retrying with all apt sources of this host"
        # shellcheck disable=SC2016 # apt expands it
        on_source "$SOURCE" apt-get indextargets --format 'relight: our source is $(REPO_URI)' \
          2>/dev/null | sort -u || true
        update '' || echo "relight: the host's own apt sources could not be refreshed"
        list=''
        ;;
    esac
    code=0
    apt_install "$list" ${simulate:+--simulate} "$@" || code=$?
    [ "$code" -ne 0 ] || break
    is_refused "$@" || break
  done
  if [ "$code" -ne 0 ]; then
    explain_refusal "$@"
    exit "$code"
  fi
  [ -z "$simulate" ] || print_sizes "$@"
}

# Whether apt refuses a change of packages before it downloads anything.
is_refused() {
  case $(apt_install "$list" --simulate "$@" 2>&1)$NEWLINE in
    *"Unable to locate package $PACKAGE$NEWLINE"* | *"package $PACKAGE has no installation candidate"*) return 1 ;;
    *'Unable to locate package'* | *'no installation candidate'* | *'unmet dependencies'* | *'remove is disabled'* | *'Unable to satisfy dependencies'*) ;;
    *) return 1 ;;
  esac
}

# If only the preferences of this host (apt's pins) stand against a change, say so.
explain_refusal() {
  is_refused "$@" || return 0
  if apt_install "$list" --simulate -o Dir::Etc::preferences=- -o Dir::Etc::preferencesparts=- "$@" \
    >/dev/null 2>&1; then
    echo 'relight: the apt preferences of this host forbid it'
  fi
}

# Print `NAME=VERSION` of each package that has to move with ours to a version: each that the service
# names, and each that is locked to one of those by the version of a dependency. apt itself takes the
# newest version for a dependency, and does not take one back to an older version. It upgrades all
# installed packages of a source together: so on the way back all of them move too.
# shellcheck disable=SC2016 # dpkg-query, apt and awk expand these
locked_packages() {
  {
    dpkg-query --show --showformat='Has ${db:Status-Status} ${Package} ${Depends}, ${Pre-Depends}\n'
    on_source "$SOURCE" apt-get indextargets --format '$(FILENAME)' 'Created-By: Packages' |
      while IFS= read -r file; do /usr/lib/apt/apt-helper cat-file "$file"; done
  } 2>/dev/null | awk -v package="$PACKAGE" -v version="$1" -v named="$PACKAGES" -v direction="$direction" '
    # Whether a field of dependencies has a package with a version; with this one, if one is given.
    function bound(field, name, at, parts, count, i, part) {
      count = split(field, parts, /[,|] */)
      for (i = 1; i <= count; i++) {
        part = parts[i]
        if (part !~ /\(/) continue
        sub(/[ :(].*/, "", part)
        if (part == name && (at == "" || index(parts[i], "(= " at ")"))) return 1
      }
      return 0
    }
    function add(i) { member[name[i]] = at[i]; of[name[i]] = depends[i]; grew = 1 }
    function end_of_stanza() {
      if (current != "") {
        total++; name[total] = current; at[total] = v; depends[total] = d
        source[total] = (s == "" ? current : s) " " (sv == "" ? v : sv)
        if (current == package && v == version) { origin = source[total]; add(total) }
      }
      current = v = d = s = sv = ""
    }
    /^Has / {
      if ($2 == "installed") { known = $3; sub(/^Has [^ ]+ [^ ]+ /, ""); has[known] = 1; had[known] = $0 }
      next
    }
    /^Package: / { current = $2 }
    /^Version: / { v = $2 }
    /^Source: / { s = $2; sv = $3; gsub(/[()]/, "", sv) }
    /^(Pre-)?Depends: / { sub(/^[^:]*: /, ""); d = d ", " $0 }
    /^$/ { end_of_stanza() }
    END {
      end_of_stanza()
      if (origin == "") exit
      count = split(named, words, " ")
      for (w = 1; w <= count; w++) if (words[w] != package) {
        for (i = 1; i <= total; i++) if (name[i] == words[w] && source[i] == origin) add(i)
        if (!(words[w] in member)) { member[words[w]] = ""; of[words[w]] = "" }
      }
      do {
        grew = 0
        for (i = 1; i <= total; i++) {
          if (name[i] in member) continue
          for (m in member) {
            needed = bound(of[m], name[i], at[i])
            needs = has[name[i]] && member[m] != "" && bound(depends[i], m, member[m])
            same = source[i] == origin && (direction == "rollback" && has[name[i]] ||
              bound(of[m], name[i], "") ||
              has[name[i]] && (bound(depends[i], m, "") || bound(had[name[i]], m, "") || bound(had[m], name[i], "")))
            if (needed || needs || same) { add(i); break }
          }
        }
      } while (grew)
      for (m in member) if (m != package && m ~ /^[a-z0-9][a-z0-9.+-]+$/) {
        if (member[m] == "") print m
        else if (member[m] ~ /^[0-9][A-Za-z0-9.+~:-]*[A-Za-z0-9.~]$|^[0-9]$/) print m "=" member[m]
      }
    }' | sort
}

# Finish what dpkg left undone. Files in its journal mean that it was killed, or that the host lost
# power, during a change. A failure is ignored: the version that is installed next may repair it.
repair_dpkg() {
  interrupted || return 0
  timeout --kill-after=10 60 dpkg --force-confdef --force-confold --configure -a || true
  interrupted || return 0
  # A script hung again. apt works only if the journal is merged into dpkg's records, which every
  # command that may write does.
  dpkg --set-selections </dev/null || true
}

interrupted() {
  for update in "$UPDATES"/[0-9]*; do
    [ ! -e "$update" ] || return 0
  done
  return 1
}

# Whether the package is completely installed at this version.
installed() {
  case $(dpkg-query --show --showformat='${db:Status-Status} ${Version}' -- "$PACKAGE" 2>/dev/null) in
    "installed $1") ;;
    *) return 1 ;;
  esac
}

# Whether dpkg has the package at this version, in any state.
present() {
  [ "$(dpkg-query --show --showformat='${Version}' -- "$PACKAGE" 2>/dev/null)" = "$1" ]
}

install_package() {
  version=$1 direction=$2 list=$SOURCE target=$PACKAGE=$1 locked='' deb_sha256=${4:-}
  repair_dpkg
  is_present=''
  ! present "$version" || is_present=yes
  if [ $# -eq 2 ]; then
    refresh
    # apt checks that the source lists a version before it changes anything, except for the
    # version that is already installed, and for `NAME=1.0+`, where it also accepts 1.0.
    case $version in
      *+) require_listed "$version" ;;
      *) [ -z "$is_present" ] || require_listed "$version" ;;
    esac
    [ "$PACKAGES:$direction" = :upgrade ] || locked=$(locked_packages "$version")
  else
    shift 2
    # apt does not see a file by a name with a colon.
    target=./${PACKAGE}_${version#*:}_$4.deb list=/dev/null
    fetch "$target" "$version" "$@"
  fi
  record_loaded
  again=''
  if [ -n "$is_present" ] && { damaged || has_other_content "$version"; }; then
    again=yes
    if [ -z "$locked" ] && [ "$list" = "$SOURCE" ]; then locked=$(locked_packages "$version"); fi
  fi
  # shellcheck disable=SC2086 # names without blanks
  set -- install -- "$target" $locked
  [ "$direction" = upgrade ] || set -- --allow-downgrades "$@"
  simulate=''
  if [ -n "$again" ]; then
    # apt takes a file that it has for the right one if it has the right size.
    for each in "$PACKAGE=$version" $locked; do
      rm -f "$(archives "${each%%=*}" "${each#*=}")"*.deb
    done
    # apt may call the same version with other content a downgrade.
    set -- --reinstall --allow-downgrades "$@"
  fi
  install_with_what_it_needs "$list" "$@"
}

# Let the package's scripts neither start nor restart the service: the next change does, at its end. A
# rule of this host's own stays. After a reboot the rule has no effect.
hold_service() {
  [ ! -e "$POLICY" ] || grep -q '^# relight' "$POLICY" || return 0
  make_run
  # shellcheck disable=SC2086
  systemctl list-units --state=active --plain --no-legend -- $UNIT $MORE_UNITS 2>/dev/null |
    cut -d ' ' -f 1 >"$HELD"
  names=''
  for unit in $UNIT $MORE_UNITS; do names="$names|*\" $unit \"*|*\" ${unit%.service} \"*"; done
  # shellcheck disable=SC2016
  printf '%s\n' '#!/bin/sh' '# relight' "[ -e $HELD ] || exit 0" 'case " $* " in *" stop "*) exit 0 ;; esac' \
    "case \" \$* \" in ${names#|}) exit 101 ;; esac" >"$POLICY.new" &&
    chmod 755 "$POLICY.new" && mv -f "$POLICY.new" "$POLICY"
}
