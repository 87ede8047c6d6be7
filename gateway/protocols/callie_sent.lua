#!lua flags=no-writes
-- KEYS: sent:<user>. ARGV: a message's id. Returns the chat that the newest one with it went to, or nil.
local entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1000)
for _, entry in ipairs(entries) do
    local pairs_of = entry[2]
    for i = #pairs_of - 1, 1, -2 do
        if pairs_of[i] == ARGV[1] then return pairs_of[i + 1] end
    end
end
return false
