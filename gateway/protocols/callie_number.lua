-- KEYS: log:<conversation>. ARGV: its author, a message's id of his. Returns the number of the newest
-- such message among the last 1,000, "17", or nil.
local before, looked_at = '+', 0
while looked_at < 1000 do
    local entries = redis.call('XREVRANGE', KEYS[1], before, '-', 'COUNT', 100)
    if #entries == 0 then return false end
    for _, entry in ipairs(entries) do
        local items = items_of(entry)
        for i = #items, 1, -1 do
            if items[i].from == ARGV[1] and items[i].id == ARGV[2] then return string.format('%.0f', items[i].number) end
        end
        looked_at = looked_at + #items
        if looked_at >= 1000 then return false end
    end
    before = '(' .. entries[#entries][1]
end
return false
