#!/bin/sh
# A client of amsd in POSIX shell, with nc (netcat-openbsd), sed, awk and tr: where there is no
# amsctl, or to see how little is needed.
#
#   ams.sh send NAME TEXT...          sends, prints the answer
#   ams.sh recv READER COMMAND...     takes one message: runs the command with the daemon's answer on
#                                     its stdin, and acknowledges the message if that succeeds. Exit
#                                     12 when none came within 10 s; in a loop:
#                                     while :; do ams.sh recv log tee -a messages; done
set -u

socket=${AMS_HOME:+$AMS_HOME/amsd.sock}
case ${XDG_RUNTIME_DIR-} in
/*) runtime=$XDG_RUNTIME_DIR/ams ;;
*) runtime=${TMPDIR:-/tmp}/ams-$(id -u) ;;
esac
socket=${socket:-$runtime/amsd.sock}

# A text as a JSON string. The daemon refuses control characters that are not escaped.
quoted() {
    printf '%s\n' "$1" | tr -d '\000-\010\013\014\016-\037' | awk '
        BEGIN { printf "\"" }
        NR > 1 { printf "\\n" }
        { gsub(/[\\"]/, "\\\\&"); gsub(/\t/, "\\t"); gsub(/\r/, "\\r"); printf "%s", $0 }
        END { printf "\"" }'
}

# call METHOD PARAMS: prints the line that comes back; fails where that is an error. -N ends our side
# after the call, and the daemon ends its own after the answer.
call() {
    answer=$(printf '{"jsonrpc":"2.0","id":1,"method":"%s","params":%s}\n' "$1" "$2" | nc -N -U "$socket") || {
        echo "ams.sh: nobody answers on $socket" >&2
        exit 11
    }
    case $answer in
    '{"jsonrpc":"2.0","id":1,"result":'*) printf '%s\n' "$answer" ;;
    *)
        printf 'ams.sh: %s\n' "$answer" >&2
        return 1
        ;;
    esac
}

case ${1-} in
send)
    [ $# -ge 3 ] || exit 2
    to=$2
    shift 2
    call message.send "{\"to\":$(quoted "$to"),\"body\":$(quoted "$*")}"
    ;;
recv)
    [ $# -ge 3 ] || exit 2
    reader=$(quoted "$2")
    shift 2
    batch=$(call inbox.next "{\"reader\":$reader,\"max\":1,\"wait\":\"10s\"}") || exit
    # Within a text every quote has a backslash before it, so this is the cursor and nothing else.
    cursor=$(printf '%s\n' "$batch" | sed -n 's/.*"cursor":"\([^"]*\)".*/\1/p')
    [ -n "$cursor" ] || exit 12
    printf '%s\n' "$batch" | "$@" || exit
    call inbox.ack "{\"reader\":$reader,\"cursor\":\"$cursor\"}" >/dev/null
    ;;
*)
    sed -n '5,10s/^# *//p' "$0" >&2
    exit 2
    ;;
esac
