-- The highest rate without a loss (RFC 2544, section 26.1): frames of 64 bytes in 10,100 flows, the
-- rate found by halving what is left between one without and one with loss. A mirror port sends
-- nothing back, so that the loss is what the appliance counted less than Pktgen sent:
-- WIRELYNX_METRICS is needed. What to expect: README.md.

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local packets = require "packets"
local port = require "port"

-- Most trials, and the precision in percent of line rate at which it ends.
local TRIALS = 12
local PRECISION = 0.1

local settings = port.settings()
if not settings.metrics then
    error("WIRELYNX_METRICS: the address of the appliance's metrics is needed", 0)
end
port.reset(settings)
local mbits = port.link(settings)
port.flows(settings, 64, 100)

local function has_loss(rate)
    local trial = port.trial(settings, rate, settings.seconds)
    port.show("no-loss", trial)
    if trial.sent == 0 then
        error("no-loss: port " .. settings.port .. " sent nothing", 0)
    end
    return port.lost(trial) > 0
end

local low, high, trials = 0, settings.rate, 1
if not has_loss(high) then
    low = high
end
while high - low > PRECISION and trials < TRIALS do
    local middle = (low + high) / 2
    if has_loss(middle) then
        high = middle
    else
        low = middle
    end
    trials = trials + 1
end
local per_percent = packets.line_rate(mbits, 64) / 100
print(string.format("no-loss: %.4f %% of line rate, %.0f a second, known to %.0f a second", low,
    low * per_percent, (high - low) * per_percent))
print(string.format("no-loss: %d trials of %g s", trials, settings.seconds))
pktgen.quit()
