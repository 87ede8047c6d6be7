-- Events of a user's log from one on, at least one and as many as there is room for. KEYS: events.
-- ARGV: the first, the last ('+': the newest), how many at most, bytes of bodies there is room for.
-- Answers of each {number, fields}.
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2]) or math.huge
local room, count, events = tonumber(ARGV[4]), tonumber(ARGV[3]), {}
local names = {'kind', 'at', 'chat', 'from', 'message', 'protocol', 'content', 'body', 'metadata'}

local function add(item)
    local fields, size = {}, 0
    for _, name in ipairs(names) do
        if item[name] then
            fields[#fields + 1], fields[#fields + 2] = name, item[name]
            size = size + #name + #item[name]
        end
    end
    if #events > 0 and size > room then return false end
    room = room - size
    events[#events + 1] = {string.format('%.0f', item.number), fields}
    return #events < count
end

-- Entries end with the item they are named by: the first one from an item on has it.
local from = ARGV[1]
while true do
    local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 4)
    if #entries == 0 then return events end
    for _, entry in ipairs(entries) do
        for _, item in ipairs(items_of(entry)) do
            if item.number > last then return events end
            if item.number >= first and not add(item) then return events end
        end
    end
    from = '(' .. entries[#entries][1]
end
