# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # its variables are relight-host's
# What stands for `processes.sh` in a first boot, whose program is short, as providers limit its size:
# nothing is proven yet. The full program is written over it at the control plane's first login.

# Print the present time in ticks since boot.
ticks() { read -r up _ </proc/uptime && printf '%s\n' "${up%.*}${up#*.}"; }

# Set `stale_units` to the units that started before the change, as on an image that has the service.
find_stale() {
  stale_units=' ' open_sockets=' ' begun=0
  { read -r begun <"$BEGUN"; } 2>/dev/null || true
  each_unit judge_start "$1"
}

judge_start() {
  case $id:$active in
    *.socket:active) open_sockets="$open_sockets$id " ;;
  esac
  [ $((started / 10000)) -ge "$begun" ] || stale_units="$stale_units$id "
}
