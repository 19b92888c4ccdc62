# Results of scripts/load-test.

# Prometheus text to an object: each sample by its name and labels.
def samples:
    [split("\n")[] | capture("^(?<key>[a-z_]+([{].*[}])?) (?<value>[^ ]+)$")
        | {(.key): (.value | tonumber)}] | add // {};

# How much each counter grew.
def growth($before; $after):
    $after | with_entries(.value -= ($before[.key] // 0));

# Sum of all samples of a metric.
def total($name):
    [to_entries[] | select(.key == $name or (.key | startswith($name + "{"))) | .value] | add // 0;

# Sums of a metric by the value of one of its labels.
def by_label($name; $by):
    reduce (to_entries[] | select(.key | startswith($name + "{"))) as $sample ({};
        .[$sample.key | capture("[{,]" + $by + "=\"(?<value>[^\"]*)\"").value]
            += $sample.value);

def nonzero: with_entries(select(.value != 0));

def round_to($digits): . * pow(10; $digits) | round / pow(10; $digits);

# Sentences on whatever does not add up; none when all packets are accounted for.
def complaints:
    def equal($what; $left; $right):
        if $left == $right then empty
        else "\($what): \($left) is not \($right)" end;
    . as $trial
    | ($trial.dropped | add // 0) as $dropped
    | ($trial.kernel.ring + $trial.kernel.backlog + $trial.kernel.joined) as $kernel
    | [ (if $trial.sent == null then empty
         else equal("sent = received + missed + kernel drops"; $trial.sent;
                $trial.received + $trial.missed + $trial.no_buffer + $kernel) end),
        (if $trial.kernel.offered == null then empty
         else equal("packets that the sender and the interface counted"; $trial.sent;
                $trial.kernel.offered),
              equal("packets that the interface and the packet sockets counted";
                $trial.kernel.arrived; $trial.kernel.seen + $trial.kernel.joined) end),
        (if $trial.running then empty
         else equal("packets that the port and the workers counted"; $trial.received;
                $trial.taken),
              equal("received = passed + dropped"; $trial.taken; $trial.passed + $dropped) end),
        ($trial.required[] | select($trial.alerts[.] == null) | "no alert of rule \(.)")
      ];

# Packets that were sent, but did not go through every stage.
def lost:
    if .sent == null then (.dropped | add // 0) + .missed + .no_buffer
    else .sent - .kernel.joined - .passed end;

def kernel($before; $after):
    if $after.interface == null then
        {ring: 0, backlog: 0, joined: 0, offered: null, arrived: null, seen: null}
    else
        ($after.interface.sent - $before.interface.sent) as $arrived
        | ($after.interface.dropped - $before.interface.dropped) as $backlog
        | {
            ring: $after.ring.drops,
            backlog: $backlog,
            # Fragments that the kernel made whole datagrams of, or still holds.
            joined: (($after.fragments.taken - $after.fragments.joined)
                - ($before.fragments.taken - $before.fragments.joined)),
            offered: ($arrived + $backlog),
            arrived: $arrived,
            seen: $after.ring.packets
        }
    end;

# What one trial says: $before and $after are the metrics of the appliance as text, $kernel_before
# and $kernel_after what the kernel counted, the input is what was asked for and sent.
def trial($before; $after; $kernel_before; $kernel_after):
    . as $trial
    # From before the first packet until the appliance had taken the last one.
    | ($kernel_after.at - $kernel_before.at) as $elapsed
    | ($before | samples) as $first
    | ($after | samples) as $last
    | growth($first; $last) as $grown
    | ($grown | by_label("wirelynx_worker_packets_total"; "worker") | to_entries
        | sort_by(.key | tonumber) | map(.value)) as $workers
    | ($workers | add // 0) as $of_workers
    | $trial + {
        received: ($grown | total("wirelynx_port_received_packets_total")),
        missed: ($grown | total("wirelynx_port_missed_packets_total")),
        no_buffer: ($grown | total("wirelynx_port_no_buffer_packets_total")),
        kernel: kernel($kernel_before; $kernel_after),
        taken: ($grown | total("wirelynx_packets_received_total")),
        passed: ($grown | total("wirelynx_packets_passed_total")),
        dropped: ($grown | by_label("wirelynx_packets_dropped_total"; "reason") | nonzero),
        untracked: ($grown | by_label("wirelynx_untracked_packets_total"; "reason") | nonzero),
        matches_dropped: ($grown | total("wirelynx_rule_matches_dropped_total")),
        events_dropped: ($grown | total("wirelynx_events_dropped_total")),
        flows: ($grown | total("wirelynx_flows_created_total")),
        alerts: ($grown | by_label("wirelynx_alerts_total"; "rule") | nonzero),
        busy: (($grown | total("wirelynx_worker_busy_seconds_total")) / $elapsed | round_to(2)),
        cores: (($kernel_after.cpu_seconds - $kernel_before.cpu_seconds) / $elapsed | round_to(2)),
        shares: [$workers[] | if $of_workers == 0 then 0
            else . / $of_workers * 100 | round_to(1) end]
    }
    | .lost = lost
    # A file that is played once has no rate.
    | .per_second = (if .sender == "file" then null
        else ((.sent // .received) / .seconds | round) end)
    | .complaints = complaints
    | .accounted = (.complaints == []);

# Cells of the table.
def row:
    [.scenario, .device, (.per_second // "once"), (.sent // "as taken"), .received,
        .missed + .no_buffer, .kernel.ring, .kernel.backlog, .kernel.joined,
        (.dropped | add // 0), (.alerts | add // 0), .flows, .busy, .cores, (if .accounted then "balances" else "DOES NOT BALANCE" end)]
    | map(tostring) | join("\t");

def pairs: to_entries | map("\(.key) \(.value)") | join(", ");

# Sentences on one trial that had more to say than its row.
def details:
    "\(.scenario), \(.device), \(.per_second | if . then "\(.) a second" else "once" end)" as $name
    | ( (select(.dropped != {}) | "\($name): dropped: \(.dropped | pairs)"),
        (select(.untracked != {}) | "\($name): without a flow: \(.untracked | pairs)"),
        (select(.matches_dropped > 0) | "\($name): matches of rules dropped: \(.matches_dropped)"),
        (select(.events_dropped > 0) | "\($name): events dropped: \(.events_dropped)"),
        (select(.shares | length > 1)
            | "\($name): share of each worker in percent: \(.shares | map(tostring) | join(", "))"),
        (select(.alerts_of_file != null)
            | "\($name): alerts by rule, at the end: \(.alerts_at_end // .alerts | pairs)",
              "\($name): from the file alone: \(.alerts_of_file | pairs)") );

# What the search for the no-loss rate found.
def search_line:
    "\(.scenario), \(.device): no loss at \(.no_loss) packets a second"
    + (if .limited_by_sender then " or more: it is the fastest that the sender can"
       else ", loss at \(.loss); known to \(.loss - .no_loss) packets a second" end)
    + " (\(.trials) trials of \(.seconds) s).";
