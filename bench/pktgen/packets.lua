-- What is sent: sizes, addresses and flows of each scenario, and what a link can carry of it.
-- Sizes are those of whole frames with the 4 bytes of the check sequence, as Pktgen counts them.

local packets = {}

-- Bytes that every frame takes on an Ethernet link besides its own: preamble, delimiter, gap.
packets.overhead = 20

-- Where packets come from and go to. 198.18.0.0/15 is for benchmarks (RFC 2544, section C.2.2).
packets.addresses = {
    destination_mac = "02:00:00:00:00:02",
    source_mac = "02:00:00:00:00:01",
    source = "198.18.0.1",
    destination = "198.19.0.1",
    source_port = 1024,
    destination_port = 5001,
}

-- Simple IMIX: 7 frames of 64 bytes, 4 of 594 and 1 of 1518, mixed. Pktgen holds 16 in a sequence.
packets.imix = { 64, 594, 64, 594, 64, 1518, 64, 594, 64, 594, 64, 64 }

-- Steps of the flow ramp. Pktgen counts all ranges of a port up at the same time, so that two of
-- lengths without a common divisor make as many flows as their product: n ports, n + 1 addresses.
packets.ramp = {
    { flows = 1056, ports = 32 },
    { flows = 10100, ports = 100 },
    { flows = 100172, ports = 316 },
    { flows = 1001000, ports = 1000 },
}

-- Mean size of the frames of a list.
function packets.mean(sizes)
    local sum = 0
    for _, size in ipairs(sizes) do
        sum = sum + size
    end
    return sum / #sizes
end

-- Frames of this size that a link of so many Mbit/s carries in a second.
function packets.line_rate(mbits, size)
    return mbits * 1e6 / ((size + packets.overhead) * 8)
end

-- The address that many places after this one.
function packets.address_after(address, places)
    local number = 0
    for octet in address:gmatch("%d+") do
        number = number * 256 + tonumber(octet)
    end
    number = number + places
    local octets = {}
    for place = 4, 1, -1 do
        octets[place] = string.format("%d", number % 256)
        number = number // 256
    end
    return table.concat(octets, ".")
end

return packets
