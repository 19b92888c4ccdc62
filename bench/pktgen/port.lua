-- A port of Pktgen and the appliance that receives from it, for the scripts beside this file.
--
-- Settings come from the environment, since Pktgen hands a script no arguments:
--   WIRELYNX_PORT     port that sends (default 0)
--   WIRELYNX_SECONDS  of each trial (default 30; 60 or more for figures to publish)
--   WIRELYNX_RATE     percent of line rate (default 100), where the script does not search for it
--   WIRELYNX_METRICS  address of the appliance's metrics, such as http://192.0.2.10:9477/metrics

local packets = require "packets"

local port = {}

-- Statistics of Pktgen 23.03 are read from the port once a second: wait for two readings.
local REFRESH_MS = 2500

-- The settings as one table; a value that makes no sense ends the script before anything is sent.
function port.settings()
    local function number(name, default, least, most)
        local text = os.getenv(name)
        local value = text and tonumber(text) or not text and default
        if not value or value < least or value > most then
            error(string.format("%s: '%s' is not possible; expected a number from %g to %g",
                name, text, least, most), 0)
        end
        return value
    end
    return {
        port = string.format("%d", number("WIRELYNX_PORT", 0, 0, 63)),
        seconds = number("WIRELYNX_SECONDS", 30, 1, 86400),
        rate = number("WIRELYNX_RATE", 100, 0.001, 100),
        metrics = os.getenv("WIRELYNX_METRICS"),
    }
end

-- Speed of the link in Mbit/s; waits 10 s for it, as an X710 can take 9.
function port.link(settings)
    for _ = 1, 20 do
        local state = pktgen.linkState(settings.port)[tonumber(settings.port)] or ""
        local mbits = state:match("(%d+)")
        if mbits and not state:find("Down") then
            return tonumber(mbits)
        end
        pktgen.delay(500)
    end
    error("port " .. settings.port .. ": its link is down; check cable and peer", 0)
end

-- Put the port back to what every script starts from.
function port.reset(settings)
    local at, to = settings.port, packets.addresses
    pktgen.stop(at)
    pktgen.reset(at)
    pktgen.set_type(at, "ipv4")
    pktgen.set_proto(at, "udp")
    pktgen.set_mac(at, "dst", to.destination_mac)
    pktgen.set_ipaddr(at, "src", to.source .. "/15")
    pktgen.set_ipaddr(at, "dst", to.destination)
    pktgen.set(at, "sport", to.source_port)
    pktgen.set(at, "dport", to.destination_port)
    pktgen.set(at, "burst", 32)
end

-- Frames of one size in so many flows: `ports` source ports and one more destination addresses.
function port.flows(settings, size, ports)
    local at, to, range = settings.port, packets.addresses, pktgen.range
    local function fixed(set, value, still)
        set(at, "start", value)
        set(at, "inc", still)
        set(at, "min", value)
        set(at, "max", value)
    end
    local function counted(set, first, last, step)
        set(at, "start", first)
        set(at, "inc", step)
        set(at, "min", first)
        set(at, "max", last)
    end
    range.ip_proto(at, "udp")
    range.dst_mac(at, "start", to.destination_mac)
    range.src_mac(at, "start", to.source_mac)
    fixed(range.src_ip, to.source, "0.0.0.0")
    counted(range.dst_ip, to.destination, packets.address_after(to.destination, ports), "0.0.0.1")
    counted(range.src_port, to.source_port, to.source_port + ports - 1, 1)
    fixed(range.dst_port, to.destination_port, 0)
    fixed(range.pkt_size, size, 0)
    pktgen.set_range(at, "on")
end

-- What the port has counted since it was cleared. Releases differ in the number of arguments.
function port.counters(settings)
    local done, all = pcall(pktgen.portStats, settings.port, "port")
    if not done then
        all = pktgen.portStats(settings.port)
    end
    return all[tonumber(settings.port)]
end

-- Sums of the metrics of the appliance by name; none without WIRELYNX_METRICS.
function port.metrics(settings)
    if not settings.metrics then
        return nil
    end
    -- An address goes into a command: nothing that a shell would read.
    if not settings.metrics:match("^[%w:/%.%-%[%]_]+$") then
        error("WIRELYNX_METRICS: '" .. settings.metrics .. "' is no address", 0)
    end
    local pipe = io.popen("curl -sf --max-time 5 '" .. settings.metrics .. "'")
    local text = pipe:read("a")
    pipe:close()
    if not text:find("wirelynx_packets_received_total", 1, true) then
        error("WIRELYNX_METRICS: no metrics of an appliance at " .. settings.metrics, 0)
    end
    local sums = {}
    for name, value in text:gmatch("([%a_]+)[^\n ]* ([%d%.e+-]+)\n") do
        sums[name] = (sums[name] or 0) + tonumber(value)
    end
    return sums
end

-- Send for so many seconds at so many percent of line rate; `count` ends it after as many packets.
-- Returns what was sent and how the counters of the appliance grew.
function port.trial(settings, rate, seconds, count)
    local at = settings.port
    pktgen.set(at, "rate", rate)
    pktgen.set(at, "count", count or 0)
    pktgen.clr()
    pktgen.delay(REFRESH_MS)
    local before = port.metrics(settings)
    pktgen.start(at)
    pktgen.delay(seconds * 1000)
    pktgen.stop(at)
    pktgen.delay(REFRESH_MS)
    local sent = port.counters(settings).opackets
    local grown = before and {}
    for name, value in pairs(before and port.metrics(settings) or {}) do
        grown[name] = value - (before[name] or 0)
    end
    return { sent = sent, seconds = seconds, rate = rate, appliance = grown }
end

-- Packets that were sent and did not go through every stage of the appliance.
function port.lost(trial)
    return trial.sent - (trial.appliance.wirelynx_packets_passed_total or 0)
end

-- One line on a trial.
function port.show(name, trial)
    local line = string.format("%s: rate %.4f %%, sent %d, %.0f a second", name, trial.rate,
        trial.sent, trial.sent / trial.seconds)
    local counted = trial.appliance
    if counted then
        local function of(what)
            return counted["wirelynx_" .. what .. "_packets_total"] or 0
        end
        line = line .. string.format("; received %d, missed %d, no buffer %d, errors %d",
            of("port_received"), of("port_missed"), of("port_no_buffer"), of("port_error"))
        line = line .. string.format(", passed %d, lost %d",
            counted.wirelynx_packets_passed_total or 0, port.lost(trial))
    end
    print(line)
end

return port
