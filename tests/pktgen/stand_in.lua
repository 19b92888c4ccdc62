-- Stands in for Pktgen-DPDK 23.03 where there is none: `lua stand_in.lua SCRIPT`.
--
-- It takes the calls of the script with the arguments that Pktgen takes, prints each as a line, and
-- refuses any other. Its port has a link of 10 Gbit/s; its appliance passes STAND_IN_CAPACITY
-- packets a second and writes metrics to the file STAND_IN_METRICS. Time passes by `delay` alone.
-- It knows what Pktgen's source says, no more: that a script passes here is no word on a NIC.

local MBITS = 10000

local state = { rate = 100, count = 0, size = 64, sent = 0, missed = 0, range = {}, sequence = {} }
local passed = 0

local function like(pattern)
    return function(value) return type(value) == "string" and value:match(pattern) end
end

-- What functions take: p port, s text, n number, i whole number, m MAC, a address, w on or off.
local kinds = {
    p = like("^%d+$"),
    s = like(""),
    n = function(value) return type(value) == "number" end,
    i = function(value) return math.type(value) == "integer" end,
    m = like("^" .. ("%x%x:"):rep(5) .. "%x%x$"),
    a = like("^%d+%.%d+%.%d+%.%d+/?%d*$"),
    w = function(value) return value == "on" or value == "off" end,
}

local function check(name, kinds_of, ...)
    local words = { "call", name }
    if select("#", ...) ~= #kinds_of then
        error(name .. ", wrong number of arguments", 3)
    end
    for place = 1, #kinds_of do
        local kind, value = kinds_of:sub(place, place), select(place, ...)
        if not kinds[kind](value) then
            error(string.format("%s: argument %d: %s is not a '%s'", name, place, value, kind), 3)
        end
        words[#words + 1] = tostring(value)
    end
    print(table.concat(words, " "))
end

-- A function that takes these arguments, and what it does.
local function call(name, kinds_of, action)
    return function(...)
        check(name, kinds_of, ...)
        return action and action(...)
    end
end

local function line_rate()
    local size, places = 0, 0
    for _, one in pairs(state.sequence) do
        size, places = size + one, places + 1
    end
    size = state.sequence_count and size / places or state.size
    return MBITS * 1e6 / ((size + 20) * 8)
end

local function send(milliseconds)
    local seconds = milliseconds / 1000
    local packets = math.floor(line_rate() * state.rate / 100 * seconds)
    if state.count > 0 then
        packets = math.min(packets, state.count - state.sent)
    end
    local capacity = math.floor(tonumber(os.getenv("STAND_IN_CAPACITY") or "1e12") * seconds)
    state.sent = state.sent + packets
    passed = passed + math.min(packets, capacity)
    state.missed = state.missed + packets - math.min(packets, capacity)
end

local function write_metrics()
    local name = os.getenv("STAND_IN_METRICS")
    if not name then
        return
    end
    local file <close> = assert(io.open(name, "w"))
    file:write("# HELP wirelynx_packets_received_total Packets\n")
    file:write("wirelynx_packets_received_total ", passed, "\n")
    file:write("wirelynx_packets_passed_total ", passed, "\n")
    file:write('wirelynx_port_received_packets_total{port="0000:01:00.0"} ', passed, "\n")
    file:write('wirelynx_port_missed_packets_total{port="0000:01:00.0"} ', state.missed, "\n")
    -- Two rules, with an alert each for every thousand packets.
    for _, rule in ipairs({ "1001", "1002" }) do
        file:write(string.format('wirelynx_alerts_total{rule="%s"} %d\n', rule, passed // 1000))
    end
end

local function address_number(text)
    local number = 0
    for octet in text:gmatch("%d+") do
        number = number * 256 + tonumber(octet)
    end
    return number
end

-- Distinct five-tuples: Pktgen counts all ranges up together, and each begins again on its own.
local function count_flows()
    local ranges, seen, flows = {}, {}, 0
    for _, name in ipairs({ "src_ip", "dst_ip", "src_port", "dst_port" }) do
        local range = {}
        for key, value in pairs(state.range[name]) do
            range[key] = math.type(value) == "integer" and value or address_number(value)
        end
        range.now = range.start
        ranges[#ranges + 1] = range
    end
    for _ = 1, 2100000 do
        local key = 0
        for _, range in ipairs(ranges) do
            key = (key * 31 + range.now) % 1000000007 * 1048583 + range.now
        end
        if not seen[key] then
            seen[key], flows = true, flows + 1
        end
        for _, range in ipairs(ranges) do
            range.now = range.now + range.inc
            if range.now > range.max then
                range.now = range.min
            end
        end
    end
    return flows
end

local function range(name, kind)
    return function(port, what, value)
        local steps = { start = true, inc = true, min = true, max = true }
        assert(steps[what], name .. ": no such bound: " .. tostring(what))
        check("range." .. name, "ps" .. kind, port, what, value)
        state.range[name] = state.range[name] or {}
        state.range[name][what] = value
        if name == "pkt_size" then
            state.size = value
        end
    end
end

pktgen = {
    quit = call("quit", ""),
    stop = call("stop", "p", function() state.sending = false end),
    start = call("start", "p", function() state.sending = true end),
    reset = call("reset", "p"),
    clr = call("clr", "", function() state.sent = 0 end),
    set_type = call("set_type", "ps"),
    set_proto = call("set_proto", "ps"),
    set_mac = call("set_mac", "psm"),
    set_ipaddr = call("set_ipaddr", "psa"),
    pcap = call("pcap", "pw"),
    set_range = call("set_range", "pw", function()
        if os.getenv("STAND_IN_FLOWS") then
            print("flows " .. count_flows())
        end
    end),
    set = call("set", "psn", function(_, what, value)
        local known = " count size rate burst sport dport seq_cnt "
        assert(known:find(" " .. what .. " ", 1, true), "set does not support " .. what)
        if what == "seq_cnt" then
            state.sequence_count = value
        elseif what == "rate" or what == "count" or what == "size" then
            state[what] = value
        end
    end),
    seq = call("seq", "ipmmaaiissiii", function(place, ...)
        assert(place < 16, "a sequence has 16 packets")
        state.sequence[place] = select(11, ...)
    end),
    delay = call("delay", "i", function(milliseconds)
        if state.sending then
            send(milliseconds)
        end
        write_metrics()
    end),
    linkState = call("linkState", "p", function()
        return { [0] = os.getenv("STAND_IN_LINK") or "<UP-10000-FD>", n = 1 }
    end),
    portStats = call("portStats", "ps", function()
        return { [0] = { opackets = state.sent, ipackets = 0 }, n = 1 }
    end),
    range = {
        src_ip = range("src_ip", "a"),
        dst_ip = range("dst_ip", "a"),
        src_port = range("src_port", "i"),
        dst_port = range("dst_port", "i"),
        pkt_size = range("pkt_size", "i"),
        dst_mac = call("range.dst_mac", "psm"),
        src_mac = call("range.src_mac", "psm"),
        ip_proto = call("range.ip_proto", "ps"),
    },
}

dofile(arg[1])
