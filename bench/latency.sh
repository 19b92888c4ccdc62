#!/usr/bin/env bash
# Time from a packet's receive stamp to its alert at the reader of a pipe: median and 99 of 100.
#   bench/latency.sh [WORKERS SECURITY_WORKERS [KEY=VALUE ...]]
# Needs root, tcpreplay and python3. Two network namespaces of its own, joined by a veth pair; attacks of
# bench/scenarios/scans.scenario at 1,000 packets a second.
set -euo pipefail
cd "$(dirname "$0")/.."

workers=${1:-1}
security=${2:-0}
shift $(($# < 2 ? $# : 2))
more=()
for setting in "$@"; do more+=(-X "$setting"); done

cargo build --quiet --release
program=$PWD/target/release
folder=$(mktemp -d)
here=latency$$a there=latency$$b
cleanup() {
    [ -z "${running:-}" ] || kill "$running" 2> /dev/null || true
    wait 2> /dev/null || true
    ip netns del "$here" || true
    ip netns del "$there" || true
    rm -rf "$folder"
}
trap cleanup EXIT
ip netns add "$here"
ip netns add "$there"
ip -n "$here" link add rx0 type veth peer name tx0 netns "$there"
ip netns exec "$here" sysctl -qw net.ipv6.conf.rx0.disable_ipv6=1
ip netns exec "$there" sysctl -qw net.ipv6.conf.tx0.disable_ipv6=1
ip -n "$here" link set rx0 up
ip -n "$there" link set tx0 up
mkfifo "$folder/alerts"
"$program/wirelynx-traffic" generate bench/scenarios/scans.scenario -o "$folder/scans.pcap" > /dev/null

cat > "$folder/reader.py" << 'PYTHON'
import calendar, json, sys, time
waits = []
for line in open(sys.argv[1]):
    now = time.time()
    alert = json.loads(line)
    if alert["alert"].get("timed_out"):
        continue
    whole, fraction = alert["timestamp"].rstrip("Z").split(".")
    at = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + fraction)
    waits.append((now - at) * 1e6)
waits.sort()
rank = lambda share: waits[min(len(waits) - 1, int(len(waits) * share))]
print(f"{len(waits)} alerts: median {rank(0.5):.0f} us, 99 of 100 {rank(0.99):.0f} us")
PYTHON
python3 "$folder/reader.py" "$folder/alerts" &
reader=$!
ip netns exec "$here" "$program/wirelynx" run \
    -X "capture.ports=[\"net_af_packet0,iface=rx0,qpairs=$workers\"]" -X "workers.count=$workers" \
    -X "security.workers=$security" -X 'rules.paths=["rules"]' -X alerts.limit=0 \
    -X "output.alerts=$folder/alerts" -X metrics.enabled=false "${more[@]}" 2> "$folder/log" &
running=$!
for _ in $(seq 100); do
    grep -q 'port started' "$folder/log" && break
    sleep 0.1
done
for _ in 1 2 3 4 5 6 7 8 9 10; do
    ip netns exec "$there" tcpreplay -q -i tx0 --pps 1000 "$folder/scans.pcap" > /dev/null 2>&1
done
kill "$running"
wait "$running"
running=
wait "$reader"
