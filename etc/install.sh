#!/bin/sh
# Installs labferry as a service of this machine, or removes it; `make install` and `make uninstall` call it.
#
#   etc/install.sh install      everything but starting it
#   etc/install.sh uninstall    all of that away, except what is yours: configuration, secrets, journal
#
#   PYTHON=/usr/bin/python3.12  the interpreter, 3.11 or newer; without it the system's own
#   PURGE=1                     with uninstall: what is yours, too
#
# Both can be repeated: `install` then renews the package and leaves everything else as it is.

set -eu
umask 022

source=$(cd "$(dirname "$0")/.." && pwd)
program=/opt/labferry
command=/usr/local/bin/labferry
config=/etc/labferry
state=/var/lib/labferry
# Not /etc/systemd/system: that is where an administrator's own version (`systemctl edit --full`) outlives an upgrade.
unit=/usr/local/lib/systemd/system/labferry.service
dropins=/etc/systemd/system/labferry.service.d
manual=/usr/local/share/man/man1/labferry.1
documentation=/usr/local/share/doc/labferry
bash_completion=/usr/local/share/bash-completion/completions/labferry
zsh_completion=/usr/local/share/zsh/site-functions/_labferry
fish_completion=/usr/local/share/fish/vendor_completions.d/labferry.fish
# Where the unit looks for secrets by name, and the names it knows.
credentials=/etc/credstore
secrets="alyx-password alyx-token globus-secret alert-urls dead-man-url"

fail() {
    echo "$1" >&2
    exit 1
}

systemd_runs() {
    [ -d /run/systemd/system ]
}

# --- install ---------------------------------------------------------------------------------------------------

install_all() {
    python=$(find_python)
    make_user
    make_program "$python"
    make_places
    put 755 "$source/etc/systemd/reload.sh" "$program/reload"
    put 644 "$source/etc/systemd/labferry.service" "$unit"
    put 644 "$source/docs/labferry.1" "$manual"
    for page in operate commands configuration codes control; do
        put 644 "$source/docs/$page.md" "$documentation/$page.md"
    done
    put_completion bash "$bash_completion"
    put_completion zsh "$zsh_completion"
    put_completion fish "$fish_completion"
    if systemd_runs; then systemctl daemon-reload; fi
    next_steps
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        candidates=$(command -v "$PYTHON") || fail "There is no $PYTHON."
    else
        candidates="/usr/bin/python3 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11"
    fi
    if ! first_usable "$candidates"; then
        if [ -z "${PYTHON:-}" ] && command -v apt-get >/dev/null; then
            { apt-get update -qq && apt-get install -y -qq python3 python3-venv; } >&2
        fi
        first_usable "$candidates" ||
            fail "Python 3.11 or newer with venv is needed; name one with PYTHON=, or install python3 and python3-venv."
    fi
}

# Prints the first that can make the environment of the service.
first_usable() {
    for python in $1; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

make_user() {
    getent group labferry >/dev/null || groupadd --system labferry
    getent passwd labferry >/dev/null ||
        useradd --system --gid labferry --home-dir "$state" --no-create-home --shell /usr/sbin/nologin \
            --comment "labferry service" labferry
}

make_program() {
    setpriv --reuid=labferry --regid=labferry --clear-groups -- "$1" -c '' 2>/dev/null ||
        fail "The user labferry may not run $1 ($(readlink -f "$1")). Name another one with PYTHON=."
    # An interpreter that is gone, as after an upgrade of the system, takes its environment with it.
    if ! "$program/venv/bin/python" -c '' 2>/dev/null; then
        rm -rf "$program/venv"
        "$1" -m venv "$program/venv"
    fi
    echo "Installing labferry into $program/venv …"
    "$program/venv/bin/python" -m pip --disable-pip-version-check install --quiet --upgrade "$source"
    link "$program/venv/bin/labferry" "$command"
}

make_places() {
    [ -d "$config" ] || install -d -m 750 -g labferry "$config"
    [ -e "$config/config.toml" ] || install -m 640 -g labferry "$source/etc/config.example.toml" "$config/config.toml"
    # Empty, so that whoever writes the password into it by whatever means keeps it to root.
    [ -e "$config/alyx-password" ] || install -m 600 /dev/null "$config/alyx-password"
    [ -d "$credentials" ] || install -d -m 700 "$credentials"
    for name in $secrets; do
        link "$config/$name" "$credentials/labferry.$name"
    done
    [ -d "$state" ] || install -d -m 700 -o labferry -g labferry "$state"
}

# put MODE FILE PLACE: only where it is another one.
put() {
    cmp -s "$2" "$3" || install -D -m "$1" "$2" "$3"
}

# link PLACE NAME: the same.
link() {
    [ "$(readlink "$2")" = "$1" ] || ln -sfn "$1" "$2"
}

put_completion() {
    made=$(mktemp)
    _LABFERRY_COMPLETE="$1_source" "$command" >"$made"
    put 644 "$made" "$2"
    rm -f "$made"
}

next_steps() {
    if systemd_runs && systemctl --quiet is-active labferry; then
        echo "labferry is renewed. The service still runs the old one: systemctl restart labferry"
        return
    fi
    cat <<END
labferry is installed; the service is not started. What is left to do (docs/operate.md):
  1. Say what to watch and where Alyx is:   $config/config.toml, the password: $config/alyx-password
  2. Let the user labferry read the data:   sudo -u labferry ls /path/of/the/root; then: labferry config check
  3. Start it, now and at every boot:       systemctl enable --now labferry; then: labferry status
END
}

# --- uninstall -------------------------------------------------------------------------------------------------

uninstall_all() {
    if systemd_runs && systemctl --quiet is-active labferry; then systemctl stop labferry; fi
    if [ -e "$unit" ] && command -v systemctl >/dev/null; then systemctl --quiet disable labferry; fi
    rm -f "$unit" "$manual" "$bash_completion" "$zsh_completion" "$fish_completion"
    if [ "$(readlink "$command")" = "$program/venv/bin/labferry" ]; then rm -f "$command"; fi
    rm -rf "$program" "$documentation"
    for name in $secrets; do
        rm -f "$credentials/labferry.$name"
    done
    if systemd_runs; then
        systemctl daemon-reload
        systemctl reset-failed labferry 2>/dev/null || true  # it has not failed
    fi
    if [ "${PURGE:-}" = 1 ]; then
        purge
    elif [ -e "$config" ] || [ -e "$state" ]; then
        echo "labferry is removed. $config, $state and the user labferry are kept; PURGE=1 removes them, too."
    else
        echo "labferry is not installed."
    fi
}

purge() {
    rm -rf "$config" "$state" "$dropins"
    if systemd_runs; then systemctl daemon-reload; fi
    if getent passwd labferry >/dev/null; then
        userdel labferry 2>/dev/null || fail "The user labferry cannot be removed; \`userdel labferry\` says why."
    fi
    # userdel leaves the group where it has other members.
    if getent group labferry >/dev/null; then groupdel labferry; fi
    echo "labferry is removed, with configuration, secrets, journal and user."
}

case ${1:-} in
    install | uninstall)
        [ "$(id -u)" = 0 ] || fail "Only root can $1 the service: sudo make $1"
        "$1_all"
        ;;
    *)
        echo "usage: etc/install.sh install | uninstall" >&2
        exit 2
        ;;
esac
