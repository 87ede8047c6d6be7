-- Messages of conversations of one partition, as one of their members may see them.
-- KEYS, of each conversation: its object, log, changes, then delivered and read of each user whose marks are wanted.
-- ARGV: the member; bytes of bodies there is room for; then of each conversation: the lowest message, the highest ('+': the
-- newest), how many at most, 1 to count what he has not read, how many users' marks, the names of those.
-- Answers of each {status, name, newest, missed, messages}, status OK, NONE or FORBIDDEN; a message, latest first, is
-- {id, from, at, protocol, content, body, change, {user, delivered at, read at, ...}}; 0: not yet.
local call = redis.call
local me, room = ARGV[1], tonumber(ARGV[2])
local CHUNK = 16
-- What is read only to be counted: entries and bytes, of all conversations together. Each thousand holds Redis up for 2 ms.
local scan, scan_bytes = 1000, 1048576
local taken = false

local function text(number) return string.format('%.0f', number) end

local function number_of(id) return tonumber(string.match(id, '^%d+')) end

local function participant(object, user)
    local field = call('HGET', object, '+' .. user)
    if not field then return nil end
    local delivered, read, since, wrote = string.match(field, '^(%d+) (%d+) (%d+) (%d+)')
    return {delivered = tonumber(delivered), read = tonumber(read), since = tonumber(since), wrote = tonumber(wrote)}
end

-- The entries from message `lowest` on of which one is the first mark of each of `count` messages.
local function marks(key, lowest, count)
    local entries = call('XRANGE', key, text(lowest), '+', 'COUNT', count + 1)
    for i, entry in ipairs(entries) do entries[i] = {number_of(entry[1]), entry[2][2]} end
    return entries
end

-- When the mark first covered the message; messages come in falling order.
local function first_at(entries, message)
    while #entries > 1 and entries[#entries - 1][1] >= message do table.remove(entries) end
    local last = entries[#entries]
    return last and last[1] >= message and last[2] or '0'
end

local function add_marks(messages, users)
    if #messages == 0 then return end
    local lowest = messages[#messages].number
    for _, user in ipairs(users) do
        if user.is and user.is.delivered >= lowest then
            local delivered = marks(user.delivered_key, lowest, messages[1].number - lowest + 1)
            local read = user.is.read >= lowest and marks(user.read_key, lowest, messages[1].number - lowest + 1) or {}
            for _, message in ipairs(messages) do
                local m = message.number
                if message[2] ~= user.name and m > user.is.since and m <= user.is.delivered then
                    local to = message[8]
                    to[#to + 1] = user.name
                    to[#to + 1] = first_at(delivered, m)
                    to[#to + 1] = m <= user.is.read and first_at(read, m) or '0'
                end
            end
        end
    end
end

local function message_of(item, changes)
    local change = call('HGET', changes, text(item.number)) or ''
    local body = string.sub(change, 1, 7) == 'delete ' and '' or item.body or ''
    return {text(item.number), item.from or '', item.at or '0', item.protocol or '0', item.content or '0', body, change, {},
        number = item.number, size = #body + #change}
end

-- The entries that hold messages from the lowest to the highest, the highest first: entries end with the message they are
-- named by, so the highest may be in one that ends above it.
local function entries_down(log, lowest, highest, count)
    local above = highest ~= '+' and call('XRANGE', log, highest, '+', 'COUNT', 1) or {}
    local to = above[1] and '(' .. above[1][1] or highest
    return function()
        if #above == 0 then
            above = call('XREVRANGE', log, to, text(lowest), 'COUNT', math.min(CHUNK, count))
            if #above == 0 then return nil end
            to = '(' .. above[#above][1]
        end
        return table.remove(above, 1)
    end
end

-- The highest first; the first of all is always taken, then as many as there is room for.
local function messages_of(log, changes, lowest, highest, count)
    local messages, top = {}, tonumber(highest) or math.huge
    if count == 0 then return messages end
    for entry in entries_down(log, lowest, highest, count) do
        local items = items_of(entry)
        for i = #items, 1, -1 do
            if #messages == count or items[i].number < lowest then return messages end
            if items[i].number <= top then
                local message = message_of(items[i], changes)
                if taken and room < message.size then return messages end
                room, taken = room - message.size, true
                messages[#messages + 1] = message
            end
        end
    end
    return messages
end

-- Messages of others above the mark. Above his own newest there are only others'; up to it they are looked at, and counted as
-- others' when that is too much.
local function missed_of(log, is, held, newest)
    local seen, missed = math.max(is.read, is.since, held - 1), 0
    while seen < is.wrote and scan > 0 and scan_bytes > 0 do
        local entry = call('XRANGE', log, text(seen + 1), '+', 'COUNT', 1)[1]
        if not entry then return missed + newest - is.wrote end
        for _, item in ipairs(items_of(entry)) do
            if item.number > seen and item.number <= is.wrote then
                if item.from ~= me then missed = missed + 1 end
                seen, scan = item.number, scan - 1
            end
        end
        seen, scan_bytes = math.min(number_of(entry[1]), is.wrote), scan_bytes - #entry[2][2]
    end
    return missed + newest - seen
end

local key, argument = 0, 2
local function next_key() key = key + 1; return KEYS[key] end
local function next_argument() argument = argument + 1; return ARGV[argument] end

local answers = {}
while argument < #ARGV do
    local object, log, changes = next_key(), next_key(), next_key()
    local lowest, highest, count = tonumber(next_argument()), next_argument(), tonumber(next_argument())
    local count_missed, users = next_argument() == '1', {}
    for i = 1, tonumber(next_argument()) do
        local name = next_argument()
        users[i] = {name = name, is = participant(object, name), delivered_key = next_key(), read_key = next_key()}
    end
    local is, newest = participant(object, me), tonumber(call('HGET', object, 'last') or 0)
    if is then
        local held = tonumber(call('HGET', object, 'first') or 1)
        local messages = messages_of(log, changes, math.max(lowest, is.since + 1, held), highest, count)
        add_marks(messages, users)
        answers[#answers + 1] = {'OK', call('HGET', object, 'name') or '', text(newest),
            text(count_missed and missed_of(log, is, held, newest) or 0), messages}
    else
        local there = call('EXISTS', object) == 1 and call('HEXISTS', object, 'deleted') == 0
        answers[#answers + 1] = {there and 'FORBIDDEN' or 'NONE'}
    end
end
return answers
