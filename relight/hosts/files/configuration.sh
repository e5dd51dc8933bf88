# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # its variables are relight-host's
# The service's configuration, as a part of relight-host.
#
# A caller that knows the host key stages files; the next change takes them, after the package's files
# and before the service: so the service's own check is the installed release's, and the service starts
# once. `$WRITTEN` is the record. Its first line is
#
#   DIGEST BOOT TICKS ON_CHANGE TAKEN
#
# the digest by which the caller names the files (`none` if there are none, `-` while they are written),
# when a file was last changed, how the service takes a change, and `yes` once it has. Each other line
# is SHA256 MODE OWNER GROUP PATH of one file.

MAX_CONFIGURATION=1048576
CHECK_SECONDS=60 # that the check of a configuration may take
MAX_CHECK_OUTPUT=4096
CONFIGURED='/etc /opt /srv /usr/local /var/lib'
NOT_CONFIGURED='/etc/apt /etc/group /etc/gshadow /etc/pam.d /etc/passwd /etc/relight /etc/shadow /etc/ssh'
NOT_CONFIGURED="$NOT_CONFIGURED /etc/sudo.conf /etc/sudoers /etc/sudoers.d /usr/local/lib/relight /var/lib/apt"
NOT_CONFIGURED="$NOT_CONFIGURED /usr/local/sbin/relight-host /var/lib/cloud /var/lib/dpkg /var/lib/relight"
BEFORE=/var/lib/relight/before # the files that were there before those of the configuration
STAGED=$RUN/staged

# Read the configuration: lines `check COMMAND`, `on-change HOW` and `file MODE OWNER GROUP PATH CONTENT`,
# the command and the content in base64.
stage() {
  read_from_owner "$MAX_CONFIGURATION"
  mkdir "$folder/staged" "$folder/staged/root"
  chmod 755 "$folder/staged/root"
  : >"$folder/staged/list"
  : >"$folder/staged/check"
  printf '%s\n' "$1" >"$folder/staged/digest"
  how=restart
  while read -r kind first owner group path content; do
    case $kind in
      check) printf '%s\n' "$first" | base64 --decode >"$folder/staged/check" 2>/dev/null || kind=wrong ;;
      on-change)
        case $first in
          restart | reload | none) how=$first ;;
          *) kind=wrong ;;
        esac
        ;;
      file) stage_file "$first" || kind=wrong ;;
      *) kind=wrong ;;
    esac
    [ "$kind" != wrong ] || fail 77 "relight: refused: the configuration is not well-formed: $first"
  done <"$folder/lines"
  printf '%s\n' "$how" >"$folder/staged/how"
  rm -rf "$STAGED"
  mv "$folder/staged" "$STAGED"
}

stage_file() {
  mode=$1
  case $mode in
    *[!0-7]*) return 1 ;;
    ???) ;;
    *) return 1 ;;
  esac
  for name in "$owner" "$group"; do
    case $name in
      '' | -* | *[!a-z0-9_-]*) return 1 ;;
    esac
  done
  check_path "$path"
  file=$folder/staged/root$path
  (umask 022 && mkdir -p "${file%/*}")
  printf '%s\n' "$content" | base64 --decode >"$file" 2>/dev/null || return 1
  chmod "$mode" "$file"
  sum=$(sha256sum <"$file")
  printf '%s %s %s %s %s\n' "${sum%% *}" "$mode" "$owner" "$group" "$path" >>"$folder/staged/list"
}

# A mistake must not take away the control plane's own access, nor what it knows about this host.
check_path() {
  case $1 in
    *[!A-Za-z0-9._@+/-]* | *//* | */ | */. | */.. | */./* | */../*)
      fail 77 "relight: refused: not a path of plain words: $1"
      ;;
  esac
  for refused in $NOT_CONFIGURED; do
    case $1 in
      "$refused" | "$refused"/*) fail 77 "relight: refused: $1 is not the service's" ;;
    esac
  done
  for allowed in $CONFIGURED; do
    case $1 in
      "$allowed"/*) return ;;
    esac
  done
  fail 77 "relight: refused: $1 is in none of: $CONFIGURED"
}

# Whether the files on record are those of a digest, and the service has taken them.
has_configuration() {
  [ "$(print_configuration)" = "$1" ]
}

# Fail if a change cannot give the service its configuration.
require_configuration() { has_configuration "$1" || require_staged "$1"; }

require_staged() {
  [ "$(cat "$STAGED/digest" 2>/dev/null)" = "$1" ] ||
    fail 93 'relight: this host does not have the configuration'
}

# Print the digest of the files that the service has taken, and what was changed of them since.
print_configuration() {
  [ -f "$WRITTEN" ] || return 0
  read -r digest _ _ _ taken <"$WRITTEN" || return 0
  case $digest:$taken in
    none:* | *:no) digest='' ;;
  esac
  printf '%s\n' "$digest"
  files=$(sed 1d "$WRITTEN")
  [ -n "$files" ] || return 0
  shown=$NEWLINE$(printf '%s\n' "$files" | cut -d ' ' -f 5 |
    xargs -r -d '\n' stat --format='%a %U %G %n is a %F' -- 2>/dev/null)$NEWLINE || true
  failed=$NEWLINE$(printf '%s\n' "$files" | sed -E 's/^([^ ]+) .* /\1  /' |
    sha256sum --check --quiet 2>/dev/null)$NEWLINE || true
  while read -r _ mode owner group path; do
    case $shown in
      *"$NEWLINE$mode $owner $group $path is a regular "*) ;;
      *" $path is a regular "*) printf '%s has another mode or owner\n' "$path" ;;
      *" $path is a "*) printf '%s is not a file\n' "$path" ;;
      *) printf '%s is missing\n' "$path" && continue ;;
    esac
    case $failed in
      *"$NEWLINE$path: "*) printf '%s was changed\n' "$path" ;;
    esac
  done <<END
$files
END
}

# Whether a change has to write files for a digest; without one, to bring back those from before ours.
needs_configuration() {
  if [ -n "$1" ]; then
    ! has_configuration "$1"
  else
    [ -f "$WRITTEN" ] && ! grep -q '^none .* yes$' "$WRITTEN"
  fi
}

# Replace the service's files by the staged ones; without a digest, by those from before ours. If the
# check refuses them, or one cannot be written, no file is changed.
take_configuration() {
  needs_configuration "$1" || return 0
  digest=${1:-none} list=/dev/null had='' boot=0 ticks=0 how=restart taken=yes
  if [ -f "$WRITTEN" ]; then
    read -r _ boot ticks how taken <"$WRITTEN"
    had=$(sed 1d "$WRITTEN")
  fi
  if [ "$digest" != none ]; then
    list=$STAGED/list
    require_staged "$digest"
    read -r how <"$STAGED/how"
    check_staged
  fi
  new='' gone=''
  while read -r sum mode owner group path; do
    is_written || new="$new $path"
  done <"$list"
  for path in $(printf '%s\n' "$had" | cut -d ' ' -f 5); do
    [ -n "$(line_of "$path" <"$list")" ] || gone="$gone $path"
  done
  restored=''
  if [ -n "$new$gone" ] || [ "$taken" = no ]; then
    replace_files
    read -r boot </proc/sys/kernel/random/boot_id
    ticks=$(ticks) taken=no
  fi
  { printf '%s %s %s %s %s\n' "$digest" "$boot" "$ticks" "$how" "$taken" && cat "$list"; } | write_record
  for path in $restored; do rm -f "$BEFORE$path"; done
}

# Print the line of a path, from lines of the record.
line_of() { awk -v path="$1" '$5 == path'; }

# Replace the files of `new`, and take away those of `gone`.
replace_files() {
  # A change that was killed may have left them.
  for path in $new $gone; do (enter "${path%/*}" && rm -rf ./.relight.??????????) || exit; done
  for path in $new; do prepare "$STAGED/root$path" "$(line_of "$path" <"$list")"; done
  for path in $gone; do
    if [ -e "$BEFORE$path" ] || [ -L "$BEFORE$path" ]; then prepare "$BEFORE$path" ''; fi
  done
  for path in $new; do keep_original; done
  # If this is cut short, the next change knows every file of both.
  { printf -- '- 0 0 %s no\n' "$how" && cat "$list" && for path in $gone; do
    printf '%s\n' "$had" | line_of "$path"
  done; } | write_record
  for each in $prepared; do put_prepared "${each%%:*}" "${each#*:}"; done
  for path in $gone; do
    case "$prepared " in
      *":$path "*) restored="$restored $path" ;; # until the record is whole, they may be needed
      *) (enter "${path%/*}" && rm -f "./${path##*/}") || fail 95 "relight: $path could not be removed" ;;
    esac
  done
  prepared=''
}

# Say that the service has taken its configuration.
end_configuration() {
  [ ! -f "$WRITTEN" ] || sed '1s/ no$/ yes/' "$WRITTEN" | write_record
  [ ! -e "$STAGED" ] || rm -rf "$STAGED" # it may have secrets
}

write_record() {
  [ -d "${WRITTEN%/*}" ] || mkdir -p "${WRITTEN%/*}"
  { (umask 077 && cat >"$WRITTEN.new") && sync "$WRITTEN.new" && mv -f "$WRITTEN.new" "$WRITTEN"; } ||
    fail 95 "relight: $WRITTEN could not be written"
}

is_written() {
  [ -f "$path" ] && [ ! -L "$path" ] &&
    [ "$(stat --format='%a %U %G' "$path")" = "$mode $owner $group" ] &&
    [ "$(sha256sum <"$path")" = "$sum  -" ]
}

# Run the service's own check where the staged files are at their places, in a mount namespace of its
# own. It reads the other files of this host as they are.
check_staged() {
  [ -s "$STAGED/check" ] || return 0
  : >"$STAGED/folders"
  while read -r _ _ owner group path; do
    chown "$owner:$group" "$STAGED/root$path" || fail 94 "relight: there is no owner $owner:$group"
    place "$path"
  done <"$STAGED/list"
  for path in $(printf '%s\n' "$had" | cut -d ' ' -f 5); do
    if [ -e "$STAGED/root$path" ]; then continue; fi
    (umask 022 && mkdir -p "$STAGED/root${path%/*}")
    mknod "$STAGED/root$path" c 0 0 || true # how an overlay says that a file is gone
    place "$path"
  done
  sort -u -o "$STAGED/folders" "$STAGED/folders"
  : >"$STAGED/output"
  code=0
  # shellcheck disable=SC2016 # the shell in the namespace expands these
  timeout --kill-after=5 "$CHECK_SECONDS" unshare --mount --propagation private /bin/sh -c '
    last=none/
    while read -r folder; do
      case $folder in "$last"*) continue ;; esac
      mount -t overlay overlay -o "ro,lowerdir=$1/root$folder:${folder%/}" "${folder%/}" || exit 1
      last=$folder
    done <"$1/folders"
    : >"$1/mounted"
    exec /bin/sh "$1/check"' check "$STAGED" >"$STAGED/output" 2>&1 </dev/null || code=$?
  [ "$code" -ne 0 ] || return 0
  print_end "$STAGED/output"
  [ -e "$STAGED/mounted" ] || fail 95 'relight: this host cannot show the new files to the check of the configuration'
  fail 94 "relight: the check of the configuration ended with exit code $code"
}

# Print the last whole lines of a file: of half a secret nobody would see that it is one.
print_end() {
  if [ "$(wc -c <"$1")" -gt "$MAX_CHECK_OUTPUT" ]; then
    tail -c "$MAX_CHECK_OUTPUT" "$1" | sed 1d
  else
    cat "$1"
  fi
}

# Note the nearest folder of a path that exists.
place() {
  nearest=${1%/*}
  while [ ! -d "$nearest" ]; do nearest=${nearest%/*}; done
  printf '%s/\n' "$nearest" >>"$STAGED/folders" # so that a folder comes right before those in it
}

# Enter a folder, part by part, and make it where it is missing. In a folder to which another user may
# write, no link is followed: he could lead us anywhere.
enter() {
  cd /
  left=${1#/}
  while [ -n "$left" ]; do
    part=${left%%/*}
    case $left in
      */*) left=${left#*/} ;;
      *) left='' ;;
    esac
    here=$(pwd -P)
    is_roots=$(find . -maxdepth 0 -user "$(id -u)" ! -perm /022)
    [ -e "$part" ] || [ -L "$part" ] || (umask 022 && mkdir "$part") || fail 95 "relight: $1 could not be made"
    cd -P "./$part" || fail 95 "relight: $1 could not be entered"
    [ -n "$is_roots" ] || [ "$(pwd -P)" = "${here%/}/$part" ] ||
      fail 95 "relight: refused: ${here%/}/$part is a link in a folder to which others may write"
  done
  check_path "$(pwd -P)/x"
}

# Copy a file to a folder beside the path where it is to be; `prepared` gets FOLDER:PATH. Where another
# user may write to the parent, he cannot put a link into that folder, and inside it no path is used.
prepare() {
  [ ! -d "$path" ] || [ -L "$path" ] || fail 95 "relight: $path is a folder"
  beside=$(enter "${path%/*}" && umask 077 && mktemp --directory "$(pwd -P)/.relight.XXXXXXXXXX") ||
    fail 95 "relight: nothing could be written beside $path"
  prepared="$prepared $beside:$path"
  (
    cd "$beside" && is_private || exit 1
    if [ -z "$2" ]; then
      cp -a "$1" new
    else
      read -r _ mode owner group _ <<END
$2
END
      cat "$1" >new && chown "$owner:$group" new && chmod "$mode" new
    fi && { [ -L new ] || sync new; }
  ) || fail 95 "relight: $path could not be written"
}

is_private() { [ -n "$(find . -maxdepth 0 -user "$(id -u)" ! -perm /077)" ]; }

put_prepared() {
  (cd "$1" && is_private && mv -fT new "../${2##*/}" && cd .. && rmdir "$1" && sync .) ||
    fail 95 "relight: $2 could not be replaced"
}

# Keep a file that was there before ours, for when it is not ours any more.
keep_original() {
  case $had$NEWLINE in
    *" $path$NEWLINE"*) return 0 ;;
  esac
  rm -f "$BEFORE$path" # of a change that was killed
  if [ ! -e "$path" ] && [ ! -L "$path" ]; then return 0; fi
  (umask 077 && mkdir -p "$BEFORE${path%/*}" && enter "${path%/*}" && cp -aT "./${path##*/}" "$BEFORE$path") ||
    fail 95 "relight: $path could not be kept"
}

# Whatever ends a change: leave nothing behind. If its configuration was refused, the service runs with the
# one that it had: a script of the package may have stopped it.
clean_up() {
  for each in $prepared; do rm -rf "${each%%:*}"; done
  start_again
}
