#!lua flags=no-writes
-- The members of a group, for one of them; nobody for others. KEYS: the group. ARGV: who asks, how many at most.
local members = {}
if redis.call('HEXISTS', KEYS[1], '+' .. ARGV[1]) == 0 then return members end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 1) == '+' and #members < tonumber(ARGV[2]) then
        members[#members + 1] = string.sub(field, 2)
    end
end
return members
