-- Ends logins.
-- KEYS: the user's logins (begin_login.lua)   ARGV: now, login, ... (none: all)
-- Returns {logins ended, token id, its end, ...}: their tokens that are alive.
local answer = {0}
local logins = {}
for i = 2, #ARGV do
    logins[#logins + 1] = ARGV[i]
end
if #ARGV < 2 then
    logins = redis.call('HKEYS', KEYS[1])
end
for _, name in ipairs(logins) do
    local login = redis.call('HGET', KEYS[1], name)
    if login then
        redis.call('HDEL', KEYS[1], name)
        answer[1] = answer[1] + 1
        for id, ends in string.gmatch(string.match(login, ' tokens=(%S*)') or '', '(%x+):(%d+)') do
            if tonumber(ends) > tonumber(ARGV[1]) then
                answer[#answer + 1] = id
                answer[#answer + 1] = ends
            end
        end
    end
end
return answer
