#!lua flags=no-writes
-- KEYS: group:<id>. ARGV: who asks. Returns its members, those who came first in front; 0 when there is no
-- such group, 1 when he is no member.
local fields = redis.call('HGETALL', KEYS[1])
local members, exists, his = {}, false, false
for i = 1, #fields, 2 do
    if fields[i] == 'owner' then exists = true end
    if string.sub(fields[i], 1, 1) == '+' then
        local member = {string.sub(fields[i], 2), tonumber(string.match(fields[i + 1], '(%d+)$')) or 0}
        members[#members + 1] = member
        his = his or member[1] == ARGV[1]
    end
end
if not exists then return 0 end
if not his then return 1 end
table.sort(members, function(a, b)
    if a[2] ~= b[2] then return a[2] < b[2] end
    return a[1] < b[1]
end)
for i = 1, #members do members[i] = members[i][1] end
return members
