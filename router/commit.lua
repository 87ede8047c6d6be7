#!lua flags=allow-oom
-- The commit of one batch while Redis is at its maxmemory and EXEC refuses: the same commands in one step (delivery.md, S3).
-- KEYS: state. ARGV: epoch, number of the commit before it, then for each command how many words it has, and those.
-- Answers, of each command that failed, its place (from 0) and why; or LOST.
local now = redis.call('HMGET', KEYS[1], 'epoch', 'commit')
if now[1] ~= ARGV[1] or now[2] ~= ARGV[2] then return redis.status_reply('LOST') end

-- A script within a script is none: effects.def has this one only.
local function del_empty(key)
    local length = redis.pcall('XLEN', key)
    if length == 0 then return redis.call('DEL', key) end
    return length
end

local failed, place, at = {}, 0, 3
while at <= #ARGV do
    local words, answer = tonumber(ARGV[at])
    if ARGV[at + 1] == 'EVAL' then
        answer = del_empty(ARGV[at + 4])
    else
        answer = redis.pcall(unpack(ARGV, at + 1, at + words))
    end
    if type(answer) == 'table' and answer.err then
        failed[#failed + 1] = place
        failed[#failed + 1] = answer.err
    end
    place, at = place + 1, at + 1 + words
end
return failed
