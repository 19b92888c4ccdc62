#!/usr/bin/env bash
# What receiving costs dpdk-testpmd (rxonly over net_pcap): a row a capture, as bench/path.rs prints
# them. No row is a pass or a failure.
#   bench/testpmd.sh CAPTURE...     TESTPMD=dpdk-testpmd  RUNS=5  SECONDS_EACH=4  CORES=0,1
#
# The rates that testpmd prints are by the clock on the wall, which on a shared machine measures the
# neighbours. So its receiving thread is asked for its CPU time, as bench/path.rs asks its own: with
# infinite_rx there is always a packet, and that thread does nothing but receive.
set -euo pipefail

testpmd=${TESTPMD:-dpdk-testpmd}
runs=${RUNS:-5}
seconds=${SECONDS_EACH:-4}
cores=${CORES:-0,1}
# infinite_rx holds every frame of the file in an mbuf: with 1 GiB, files up to about 150,000 frames.
mbufs=180000

if ! command -v "$testpmd" >/dev/null; then
    echo "testpmd.sh: no dpdk-testpmd (Debian: package dpdk-dev); set TESTPMD" >&2
    exit 1
fi
folder=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT

# Receive for some seconds; prints packets and the CPU nanoseconds of the receiving thread.
receive() {
    local devargs=$1 task thread=
    "$testpmd" -l "$cores" --no-huge -m 1024 --no-shconf --no-pci --no-telemetry \
        --vdev="net_pcap0,$devargs" -- --forward-mode=rxonly --auto-start \
        --total-num-mbufs="$mbufs" --rxd=512 --no-flush-rx --stats-period=1 \
        </dev/null >"$folder/told" 2>&1 &
    pid=$!
    sleep "$seconds"
    for task in /proc/"$pid"/task/*; do
        case $(cat "$task/comm" 2>/dev/null) in *worker*) thread=$task ;; esac
    done
    if [ -z "$thread" ]; then
        cat "$folder/told" >&2
        echo "testpmd.sh: $testpmd did not start a receiving thread" >&2
        return 1
    fi
    local spent
    read -r spent _ <"$thread/schedstat"
    kill -INT "$pid"
    wait "$pid" || true
    pid=
    awk -v spent="$spent" '/RX-packets:/ { n = $2 } END { print n + 0, spent }' "$folder/told"
}

for capture in "$@"; do
    name=$(basename "$capture" .pcap)
    : >"$folder/runs"
    for _ in $(seq "$runs"); do
        receive "rx_pcap=$capture,infinite_rx=1" >>"$folder/runs"
    done
    once=$(receive "rx_pcap=$capture" | cut -d' ' -f1)
    awk '{ printf "%.3f\n", $2 / $1 }' "$folder/runs" | sort -n |
        awk -v name="$name" -v once="$once" '{ ns[NR] = $1 } END {
            median = ns[int((NR + 1) / 2)]
            printf "%-12s %-13s %9.1f %9.1f %9.1f %8.3f   once: %d packets\n",
                name, "testpmd", median, ns[1], ns[NR], 1000 / median, once }'
done
