#!lua flags=no-writes
-- KEYS: sent:<user>. ARGV: a message's id. Returns the chat that the newest one with it went to, or nil.
local entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1000)
for _, entry in ipairs(entries) do
    local fields, id, chat = entry[2], nil, nil
    for i = 1, #fields, 2 do
        if fields[i] == 'id' then id = fields[i + 1] end
        if fields[i] == 'chat' then chat = fields[i + 1] end
    end
    if id == ARGV[1] then return chat end
end
return false
