#!lua flags=no-writes
-- Events of a user's log from one on, at least one and as many as there is room for. KEYS: events.
-- ARGV: the first, the last ('+': the newest), how many at most, bytes of bodies there is room for.
-- Answers of each {id, fields}.
local room, count, from, events = tonumber(ARGV[4]), tonumber(ARGV[3]), ARGV[1], {}
while #events < count do
    local entries = redis.call('XRANGE', KEYS[1], from, ARGV[2], 'COUNT', math.min(16, count - #events))
    if #entries == 0 then break end
    for _, entry in ipairs(entries) do
        local size = 0
        for _, field in ipairs(entry[2]) do size = size + #field end
        if #events > 0 and size > room then return events end
        room = room - size
        events[#events + 1] = entry
    end
    from = '(' .. entries[#entries][1]
end
return events
