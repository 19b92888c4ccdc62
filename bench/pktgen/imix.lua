-- Simple IMIX (7 frames of 64 bytes, 4 of 594, 1 of 1518), at WIRELYNX_RATE percent of line rate.
-- A sequence has 12 flows: too few to load many queues evenly. What to expect: README.md.

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local packets = require "packets"
local port = require "port"

local settings = port.settings()
local to = packets.addresses
port.reset(settings)
local mbits = port.link(settings)
for place, size in ipairs(packets.imix) do
    pktgen.seq(place - 1, settings.port, to.destination_mac, to.source_mac, to.destination,
        to.source .. "/15", to.source_port + place, to.destination_port, "ipv4", "udp", 1, size, 0)
end
pktgen.set(settings.port, "seq_cnt", #packets.imix)
print(string.format("imix: line rate is %.0f a second",
    packets.line_rate(mbits, packets.mean(packets.imix))))
port.show("imix", port.trial(settings, settings.rate, settings.seconds))
pktgen.quit()
