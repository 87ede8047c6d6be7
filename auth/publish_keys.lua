-- Writes public keys where they are missing or other. Returns how many.
-- KEYS: the keys (a hash: kid -> PEM)   ARGV: kid, PEM, ...
local written = 0
for i = 1, #ARGV, 2 do
    if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[i + 1] then
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
        written = written + 1
    end
end
return written
