# What our engine changes of the machine's network, and how that is undone. Source it after lib.sh.
# shellcheck shell=bash

readonly NETWORK_BEFORE="$SLIPWAY_ENGINE_DIR/network-before"
readonly BRIDGE="(docker0|br-$(printf '[0-9a-f]%.0s' {1..12}))"

# The engine lets the kernel forward, and then drops by default what it does not forward itself.
# After a kill it is started again on a network it had changed already: the first note is the one that counts.
note_network() {
    [ ! -e "$NETWORK_BEFORE" ] || return 0
    {
        grep -sH . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding | sed 's/:/ /; s/^/write /' || true
        iptables -S FORWARD | sed -n 's/^-P/iptables -P/p'
        ip6tables -S FORWARD 2>/dev/null | sed -n 's/^-P/ip6tables -P/p' || true
    } >"$NETWORK_BEFORE"
}

# Another engine uses the same names: while one runs, all of it may be that one's.
restore_network() {
    local bridge
    ! pgrep -x dockerd >/dev/null || return 0
    remove_rules iptables
    remove_rules ip6tables
    for bridge in $(ip -o link show type bridge | awk -F ': ' '{print $2}' | grep -xE "$BRIDGE"); do
        ip link delete "$bridge"
    done
    [ ! -e "$NETWORK_BEFORE" ] || restore_forwarding <"$NETWORK_BEFORE"
}

# remove_rules iptables|ip6tables: in every table the jumps first, then the chains that they led to.
remove_rules() {
    have "$1-save" || return 0
    "$1-save" | awk -v bridge="$BRIDGE" '
        /^\*/ {print; chains = 0}
        /^:DOCKER/ {chain[++chains] = substr($1, 2)}
        /^-A/ && $2 !~ /^DOCKER/ && ($0 ~ / -j DOCKER/ || $0 ~ " " bridge "( |$)") {sub(/^-A/, "-D"); print}
        /^COMMIT/ {
            for (i = 1; i <= chains; i++) print "-F", chain[i]
            for (i = 1; i <= chains; i++) print "-X", chain[i]
            print
        }' | "$1-restore" --noflush
}

restore_forwarding() {
    local command arguments
    while read -r command arguments; do
        case "$command" in
        write) echo "${arguments#* }" >"${arguments%% *}" ;;
        iptables | ip6tables) xargs "$command" <<<"$arguments" ;;
        esac
    done
}
