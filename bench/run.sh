#!/usr/bin/env bash
# One table: receiving and headers, and, where it is installed, dpdk-testpmd, on the same frames in one
# run. Scopes with state are left out: so few frames, repeated, are no traffic to them (bench/path.rs).
#   bench/run.sh [PACKETS [FLOWS]]     at most 150,000 packets: testpmd holds each in an mbuf
#   INSTRUCTIONS=1 bench/run.sh        counts instructions as well (needs valgrind; slow)
set -euo pipefail
cd "$(dirname "$0")/.."

packets=${1:-65536}
flows=${2:-$((packets / 10))}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cargo build --release --no-default-features --bin wirelynx-traffic
cargo bench --no-default-features --bench path --no-run
inputs=()
captures=()
for mix in imix480 min64; do
    cargo run -q --release --no-default-features --bin wirelynx-traffic -- replicate \
        --mix "$mix" --packets "$packets" --flows "$flows" -o "$folder/$mix.pcap"
    inputs+=(--input "$folder/$mix.pcap")
    captures+=("$folder/$mix.pcap")
done
scopes=(--scope receive --scope headers)
cargo bench -q --no-default-features --bench path -- "${inputs[@]}" "${scopes[@]}"
bench/testpmd.sh "${captures[@]}" || echo "(no row of testpmd)"
if [ -n "${INSTRUCTIONS:-}" ]; then
    cargo bench -q --no-default-features --bench path -- "${inputs[@]}" "${scopes[@]}" --instructions
fi
