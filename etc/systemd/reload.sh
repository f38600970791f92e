#!/bin/sh
# Asks the service to read its configuration again, and waits for the word that came of it: the unit's ExecReload.
# Without this wait `systemctl reload` would call everything a success that was only asked for.

set -eu
answer=$RUNTIME_DIRECTORY/reload

rm -f "$answer"
kill -HUP "$MAINPID"
until [ -e "$answer" ]; do
    kill -0 "$MAINPID" # it died: nobody answers any more
    sleep 0.1
done
grep -qx reloaded "$answer" || { cat "$answer" && exit 1; }
