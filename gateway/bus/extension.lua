-- KEYS: the stream; the last content of this user's id. ARGV: entries to keep, content or '', fields.
-- The same content under the same id within two minutes is a retry. Returns 1, or 0 for a retry.
if ARGV[2] ~= '' then
    if redis.call('GET', KEYS[2]) == ARGV[2] then return 0 end
    redis.call('SET', KEYS[2], ARGV[2], 'EX', 120)
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 3))
return 1
