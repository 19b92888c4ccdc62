-- The attack mix, once: a capture that wirelynx-traffic made of attacks.scenario, given to Pktgen
-- as `-s 0:attacks.pcap`. WIRELYNX_PACKETS says how many packets it has. What to expect: README.md.

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local port = require "port"

local settings = port.settings()
local count = tonumber(os.getenv("WIRELYNX_PACKETS") or "")
if not count or count < 1 then
    error("WIRELYNX_PACKETS: how many packets the capture has, as wirelynx-traffic printed it", 0)
end
-- Pktgen does not keep the times of a capture. A thousandth of line rate is some thousand packets a
-- second: fast enough for every rule, and slow enough that few packets share a burst.
local rate = os.getenv("WIRELYNX_RATE") and settings.rate or 0.1
pktgen.stop(settings.port)
port.link(settings)
pktgen.pcap(settings.port, "on")
local trial = port.trial(settings, rate, settings.seconds, count)
pktgen.pcap(settings.port, "off")
port.show("attacks", trial)
if trial.appliance then
    print(string.format("attacks: alerts %d", trial.appliance.wirelynx_alerts_total or 0))
end
pktgen.quit()
