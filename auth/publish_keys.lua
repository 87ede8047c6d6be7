-- Writes public keys where they are missing or other, and removes the rest. Returns how many changes that took.
-- KEYS: the keys (a hash: kid -> PEM)   ARGV: kid, PEM, ...
local changes, ours = 0, {}
for i = 1, #ARGV, 2 do
    ours[ARGV[i]] = true
    if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[i + 1] then
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
        changes = changes + 1
    end
end
for _, kid in ipairs(redis.call('HKEYS', KEYS[1])) do
    if not ours[kid] then
        redis.call('HDEL', KEYS[1], kid)
        changes = changes + 1
    end
end
return changes
