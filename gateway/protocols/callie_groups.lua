#!lua flags=no-writes
-- KEYS: group:<id> of groups. ARGV: a user. Returns for each its name and owner, if he is a member; else nil.
local groups = {}
for i, key in ipairs(KEYS) do
    local fields = redis.call('HMGET', key, 'name', 'owner', '+' .. ARGV[1])
    groups[i] = fields[3] and {fields[1] or '', fields[2] or ''}
end
return groups
