#!lua flags=allow-oom
-- The commit of one batch: effects, position and number in one step, and never twice (delivery.md, S3).
-- KEYS: state lease in dead, then those of the effects.
-- ARGV: epoch, commit, owner, lease in ms, position ('' = unchanged), first entry of `in` to keep, effects (msgpack),
-- then their attachments.
local state, lease, input, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch, commit, owner, lease_ms, position, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local now = redis.call('HMGET', state, 'epoch', 'commit')
if now[1] ~= epoch then return 'LOST' end
if now[2] == commit then return 'DONE' end
if now[2] ~= string.format('%.0f', tonumber(commit) - 1) then return 'STALE' end

local call = redis.call
local operations = {
    [1] = function(e) call('HSET', KEYS[e[2]], unpack(e, 3)) end,
    [2] = function(e) call('HDEL', KEYS[e[2]], unpack(e, 3)) end,
    [3] = function(e) call('XADD', KEYS[e[2]], unpack(e, 3)) end,
    [4] = function(e) call('XTRIM', KEYS[e[2]], 'MINID', e[3]) end,
    [5] = function(e)
        call('XDEL', KEYS[e[2]], unpack(e, 3))
        if call('XLEN', KEYS[e[2]]) == 0 then call('DEL', KEYS[e[2]]) end
    end,
    [6] = function(e) call('XTRIM', KEYS[e[2]], 'MAXLEN', '0') end,
    [7] = function(e) call('DEL', KEYS[e[2]]) end,
    [8] = function(e) call('PEXPIRE', KEYS[e[2]], e[3]) end,
    [9] = function(e) call('PERSIST', KEYS[e[2]]) end,
    [10] = function(e) call('ZADD', KEYS[e[2]], e[3], e[4]) end,
    [11] = function(e) call('ZREM', KEYS[e[2]], e[3]) end,
    [12] = function(e) call('XADD', KEYS[e[2]], e[3], e[4], ARGV[7 + e[5]]) end,
    [13] = function(e) call('XADD', KEYS[e[2]], '*', 'g', e[3], 'n', e[4], 'f', ARGV[7 + e[5]]) end,
    [20] = function(e) call('XADD', KEYS[e[2]], 'MAXLEN', '~', unpack(e, 3)) end,
    [21] = function(e)
        if call('ZADD', KEYS[e[2]], e[3], e[4]) == 1 then -- a new member
            call('ZREMRANGEBYRANK', KEYS[e[2]], '0', tostring(-1 - tonumber(e[5])))
        end
    end,
    [22] = function(e)
        e[#e] = ARGV[7 + e[#e]]
        call('XADD', KEYS[e[2]], unpack(e, 3))
    end,
}
local attached = {[12] = true, [13] = true, [22] = true} -- the last argument is

-- Decoding is all or nothing: everything is looked at before anything is written.
local effects = cmsgpack.unpack(ARGV[7])
for i = 1, #effects do
    local effect = effects[i]
    if not operations[effect[1]] or not KEYS[effect[2]] or (attached[effect[1]] and not ARGV[7 + effect[#effect]]) then
        return redis.error_reply('BADEFFECT effect ' .. i .. ' is not one this version knows')
    end
end

-- One that fails does not keep those behind it from being tried.
local failed, at = 0, 1
local function go_on()
    while at <= #effects do
        local effect = effects[at]
        operations[effect[1]](effect)
        at = at + 1
    end
end
while at <= #effects do
    local ok, problem = pcall(go_on)
    if not ok then
        local effect = effects[at]
        at, failed = at + 1, failed + 1
        if type(problem) == 'table' then problem = problem.err end
        redis.pcall('XADD', dead, 'MAXLEN', '~', '1000', '*', 'what', 'effect', 'key', KEYS[effect[2]],
                    'opcode', tostring(effect[1]), 'problem', tostring(problem))
    end
end
if position ~= '' then
    call('XTRIM', input, 'MINID', keep)
    call('HSET', state, 'commit', commit, 'pos', position)
else
    call('HSET', state, 'commit', commit)
end
call('SET', lease, owner, 'PX', lease_ms)
if failed > 0 then return 'FAILED ' .. failed end
return 'OK'
