-- A ramp of flows from 1,056 to 1,001,000: 64 bytes at WIRELYNX_RATE percent of line rate.
-- The table of the appliance must have room: flows.flows_max. What to expect: README.md.

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local packets = require "packets"
local port = require "port"

local settings = port.settings()
port.reset(settings)
port.link(settings)
for _, step in ipairs(packets.ramp) do
    port.flows(settings, 64, step.ports)
    local trial = port.trial(settings, settings.rate, settings.seconds)
    port.show(string.format("flows %d", step.flows), trial)
    if trial.appliance then
        print(string.format("flows %d: created %d, packets without a flow %d", step.flows,
            trial.appliance.wirelynx_flows_created_total or 0,
            trial.appliance.wirelynx_untracked_packets_total or 0))
    end
end
pktgen.quit()
