#!lua flags=allow-oom
-- Takes a partition unless another's lease lives (delivery.md, S1). The epoch rises over every take and over a Redis that was rolled back.
-- KEYS: state lease. ARGV: owner, lease in ms, run_id of this Redis.
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return {'HELD', holder} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', KEYS[1], 'epoch', 'pos', 'run_id')
local epoch = math.max(tonumber(state[1] or '0') + 1, now)
local text = string.format('%.0f', epoch)
redis.call('HSET', KEYS[1], 'epoch', text, 'commit', '0', 'owner', ARGV[1], 'run_id', ARGV[3])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
-- Another Redis process than the last owner's may have lost what that one had: offsets of histories count anew.
if state[3] ~= ARGV[3] then redis.call('HSET', KEYS[1], 'history', text) end
local floor = redis.call('HGET', KEYS[1], 'history') or '0'
return {'TAKEN', text, state[2] or '0-0', string.format('%.0f', now), state[3] or '', floor}
