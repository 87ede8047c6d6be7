#!lua flags=no-writes
-- KEYS: log:<conversation>. ARGV: its author, a message's id of his. Returns the number of the newest
-- such message among the last 1,000, "17", or nil.
local before = '+'
for _ = 1, 10 do
    local entries = redis.call('XREVRANGE', KEYS[1], before, '-', 'COUNT', 100)
    if #entries == 0 then return false end
    for _, entry in ipairs(entries) do
        local fields, from, id = entry[2], nil, nil
        for i = 1, #fields, 2 do
            if fields[i] == 'from' then from = fields[i + 1] end
            if fields[i] == 'id' then id = fields[i + 1] end
        end
        if from == ARGV[1] and id == ARGV[2] then return string.match(entry[1], '^%d+') end
    end
    before = '(' .. entries[#entries][1]
end
return false
