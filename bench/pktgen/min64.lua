-- Frames of 64 bytes in 10,100 flows, at line rate or WIRELYNX_RATE percent of it.
-- What to expect, and the settings: README.md beside this file.

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local port = require "port"

local settings = port.settings()
port.reset(settings)
local mbits = port.link(settings)
port.flows(settings, 64, 100)
print(string.format("min64: line rate is %.0f a second", require("packets").line_rate(mbits, 64)))
port.show("min64", port.trial(settings, settings.rate, settings.seconds))
pktgen.quit()
